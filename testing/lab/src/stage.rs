//! Where a scenario is played: a Meridian of its own, sessions, a viewer on each, and the moment of the fault.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use meridian_runtime::Tasks;
use tokio::time::{Instant, sleep};

use crate::{
    Options,
    api::Api,
    chance::Chance,
    judge::{Seen, SeenStream},
    probe::Probe,
    site::{Site, ZONES},
    viewer::{SETTLED_AFTER, Viewer},
};

/// Launches, and streams, that are opened at once.
const AT_ONCE: usize = 8;
const RUNNING_LIMIT: Duration = Duration::from_secs(60);
/// So long streams run before the fault: past it, a viewer counts a break as the first of a row.
const STEADY: Duration = Duration::from_secs(SETTLED_AFTER.as_secs() + 2);
/// No stream counts as back before this: one on a frozen path has shown by then that it is silent.
const SHOWN_AFTER: Duration = Duration::from_secs(3);
/// A stream is well that showed a whole picture so lately.
const FRESH: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const STATES_LIMIT: Duration = Duration::from_secs(30);
const TASKS_LIMIT: Duration = Duration::from_secs(5);

pub(crate) struct Stage {
    pub(crate) site: Site,
    pub(crate) chance: Chance,
    api: Api,
    tasks: Tasks,
    viewers: Vec<Viewer>,
    probe: Probe,
    began: Instant,
    struck: Option<Struck>,
}

/// The moment of the fault, and what had been used by then.
struct Struck {
    at: Duration,
    cpu: Duration,
    tickets: u64,
}

impl Stage {
    /// Starts everything; returns when all streams have run for a while.
    pub(crate) async fn set(executable: &Path, options: &Options) -> Result<Self> {
        let site = Site::start(executable).await?;
        let api = Api::sign_in(&site.url, &site.password).await?;
        let workspace = api.prepare(options.sessions).await?;
        let launches = (0..options.sessions).map(|_| running(&api, &workspace));
        let sessions: Vec<_> = stream::iter(launches).buffer_unordered(AT_ONCE).try_collect().await?;
        let (tasks, began) = (Tasks::new(), Instant::now());
        let first = sessions.first().context("a scenario needs a session")?;
        let probe = Probe::start(&tasks, &api, first, began);
        let chance = Chance::new(options.seed);
        let mut stage = Self { site, chance, api, tasks, viewers: Vec::new(), probe, began, struck: None };
        for wave in sessions.chunks(AT_ONCE) {
            stage.open(wave, options.frame_every)?;
            stage.all_show(Duration::ZERO, RUNNING_LIMIT).await.context("opening the streams")?;
        }
        sleep(STEADY).await;
        stage.all_show(stage.began.elapsed(), RUNNING_LIMIT).await.context("streams before the fault")?;
        Ok(stage)
    }

    fn open(&mut self, sessions: &[String], every: Duration) -> Result<()> {
        for session in sessions {
            let chance = self.chance.split();
            let viewer = Viewer::start(&self.tasks, &self.api, session, every, chance, self.began)?;
            self.viewers.push(viewer);
        }
        Ok(())
    }

    /// One of a zone's proxies, by chance.
    pub(crate) fn any_proxy(&mut self) -> String {
        format!("proxy-{}-{}", ZONES[0], self.chance.index(2) + 1)
    }

    /// The fault: from this moment on everything counts.
    pub(crate) fn strike<T>(&mut self, fault: impl FnOnce(&mut Site) -> Result<T>) -> Result<T> {
        let tickets = self.viewers.iter().map(|viewer| viewer.journal().tickets).sum();
        self.struck = Some(Struck { at: self.began.elapsed(), cpu: self.site.cpu(), tickets });
        fault(&mut self.site)
    }

    /// Waits until every stream shows something again. That one does not is no error here: it is judged.
    pub(crate) async fn all_back(&self, limit: Duration) {
        let from = self.struck.as_ref().map(|struck| struck.at).unwrap_or_default() + SHOWN_AFTER;
        let _ = self.all_show(from, limit).await;
    }

    /// Waits until the control plane answers requests again.
    pub(crate) async fn answers(&self, limit: Duration) -> Result<()> {
        let from = self.began.elapsed();
        let until = Instant::now() + limit;
        while !self.probe.answered_after(from) {
            ensure!(Instant::now() < until, "the control plane did not answer within {limit:?}");
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Waits until every stream has shown a whole picture lately, and after `from`.
    async fn all_show(&self, from: Duration, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        loop {
            let now = self.began.elapsed();
            let since = from.max(now.saturating_sub(FRESH));
            let missing = self.viewers.iter().find(|viewer| {
                let status = viewer.status();
                !status.attached || status.frame_at.is_none_or(|at| at < since)
            });
            let Some(missing) = missing else { return Ok(()) };
            if Instant::now() > until || self.viewers.iter().any(|viewer| viewer.status().failed) {
                let journal = missing.journal();
                bail!("the stream of session {} shows nothing: {}", missing.session, journal.last_word());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// What was seen since the fault. Everything has ended when this returns.
    pub(crate) async fn end(self) -> Result<(Seen, Result<()>)> {
        let struck = self.struck.as_ref().context("the scenario struck nothing")?;
        let until = self.began.elapsed();
        let tickets: u64 = self.viewers.iter().map(|viewer| viewer.journal().tickets).sum();
        let streams = self.viewers.iter().map(|viewer| {
            let status = viewer.status();
            let fresh = status.frame_at.is_some_and(|at| at + FRESH >= until);
            SeenStream {
                session: viewer.session.clone(),
                shows: status.attached && fresh,
                journal: viewer.journal(),
            }
        });
        let mut seen = Seen {
            from: struck.at,
            until,
            streams: streams.collect(),
            not_running: Vec::new(),
            requests_failed: self.probe.failed_after(struck.at),
            last_failure: self.probe.last_failure_after(struck.at),
            tickets: tickets - struck.tickets,
            cpu: self.site.cpu().saturating_sub(struck.cpu),
            troubles: Vec::new(),
        };
        self.tasks.stop(TASKS_LIMIT).await;
        seen.not_running = self.not_running().await;
        for viewer in &self.viewers {
            // Tidies its display directory; what fails here is removed with the rest.
            let _ = self.api.end(&viewer.session).await;
        }
        seen.troubles = self.site.troubles(20);
        let stopped = self.site.stop().await;
        Ok((seen, stopped))
    }

    /// Sessions that the control plane does not call running, after it had time to learn better.
    async fn not_running(&self) -> Vec<String> {
        let until = Instant::now() + STATES_LIMIT;
        loop {
            let mut wrong = Vec::new();
            for viewer in &self.viewers {
                let state = self.api.state(&viewer.session).await;
                let state = state.unwrap_or_else(|error| format!("{error:#}"));
                if state != "running" {
                    wrong.push(format!("session {} is {state}", viewer.session));
                }
            }
            if wrong.is_empty() || Instant::now() > until {
                return wrong;
            }
            sleep(FRESH).await;
        }
    }
}

async fn running(api: &Api, workspace: &str) -> Result<String> {
    let session = api.launch(workspace, ZONES[0]).await?;
    let until = Instant::now() + RUNNING_LIMIT;
    loop {
        match api.state(&session).await?.as_str() {
            "running" => return Ok(session),
            "starting" if Instant::now() < until => sleep(LOOK_EVERY).await,
            state => bail!("session {session} is {state} and does not run"),
        }
    }
}
