//! Where a scenario is played: a Meridian of its own, sessions, a viewer on each, and the moment of the fault.
//!
//! Most streams are of london, whose parts are broken; a few are of virginia, and must never notice anything.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use meridian_runtime::Tasks;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    DOCKER, Options,
    api::{Api, SessionState},
    browser::{Browsers, Page},
    chance::Chance,
    docker::IMAGE,
    judge::{Seen, SeenStream},
    probe::Probe,
    scenarios::Scenario,
    site::{EACH, LONDON, Part, Site, VIRGINIA, Zone},
    trust::Trust,
    viewer::{Pace, SETTLED_AFTER, Status, Viewer},
};

/// Launches, and streams, that are opened at once.
const AT_ONCE: usize = 48;
const RUNNING_LIMIT: Duration = Duration::from_secs(60);
/// So long streams run before the fault: past it, a viewer counts a break as the first of a row.
const STEADY: Duration = Duration::from_secs(SETTLED_AFTER.as_secs() + 2);
/// No stream counts as back before this: one on a silent path has shown by then that it is silent.
const SHOWN_AFTER: Duration = Duration::from_secs(3);
/// A stream is well that showed a whole picture within this time beyond its pace.
const FRESH: Duration = Duration::from_secs(1);
/// Streams that are named where many are not back.
const MAX_TOLD: usize = 5;
const PROXY_STREAMS: &str = "meridian_proxy_streams";
/// One of the simulated engine's.
const SIMULATED_IMAGE: &str = "meridian/terminal:dev";
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Of many launches at once: a poll costs as much as what it waits for.
const LAUNCH_LOOK_EVERY: Duration = Duration::from_millis(200);
const STATES_LIMIT: Duration = Duration::from_secs(30);
const TASKS_LIMIT: Duration = Duration::from_secs(5);
/// Of so many streams in london, one in virginia stands by; at least two.
const BYSTANDER_OF: usize = 50;

/// A launched session and its zone.
#[derive(Clone, Debug)]
struct Launched {
    session: String,
    zone: Zone,
}

pub(crate) struct Stage {
    pub(crate) site: Site,
    pub(crate) chance: Chance,
    pub(crate) api: Api,
    pub(crate) options: Options,
    workspace: String,
    tasks: Tasks,
    viewers: Vec<Viewer>,
    bystanders: Vec<Viewer>,
    browsers: Option<Browsers>,
    pace: Pace,
    probe: Probe,
    began: Instant,
    struck: Option<Struck>,
    notes: BTreeMap<&'static str, f64>,
    /// What did not hold besides what viewers saw.
    broken: Vec<String>,
}

/// How london's streams fare.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fare {
    pub(crate) streams: usize,
    pub(crate) show: usize,
    pub(crate) resumed: usize,
    pub(crate) restarted: usize,
    pub(crate) failed: usize,
}

/// The moment of the fault, and what had been used by then.
struct Struck {
    at: Duration,
    cpu: Duration,
    tickets: u64,
}

impl Stage {
    /// Launches and opens everything; returns when all streams have run for a while.
    pub(crate) async fn set(site: Site, options: &Options, scenario: &Scenario) -> Result<Self> {
        let trust = Trust::read(&site.authority())?;
        let api = Api::sign_in(&crate::site::public_url(), &site.password, trust).await?;
        let image = if scenario.engine == DOCKER { IMAGE } else { SIMULATED_IMAGE };
        let apart = if scenario.bystanders { (options.sessions / BYSTANDER_OF).max(2) } else { 0 };
        let workspace = api.prepare(options.sessions + apart + options.browsers, image).await?;
        nodes_ready(&api).await?;
        let zones = [vec![LONDON; options.sessions], vec![VIRGINIA; apart]].concat();
        let launches = zones.into_iter().map(|zone| running(&api, &workspace, zone));
        let sessions: Vec<_> = stream::iter(launches).buffer_unordered(AT_ONCE).try_collect().await?;
        let (tasks, began) = (Tasks::new(), Instant::now());
        let first = sessions.first().context("a scenario needs a session")?;
        let probe = Probe::start(&tasks, &api, &first.session, began);
        let mut stage = Self {
            site,
            chance: Chance::new(options.seed),
            api,
            options: options.clone(),
            workspace,
            tasks,
            viewers: Vec::new(),
            bystanders: Vec::new(),
            browsers: None,
            pace: options.pace(),
            probe,
            began,
            struck: None,
            notes: BTreeMap::new(),
            broken: Vec::new(),
        };
        for wave in sessions.chunks(AT_ONCE) {
            stage.open(wave)?;
            stage.all_show(Duration::ZERO, RUNNING_LIMIT).await.context("opening the streams")?;
        }
        if options.browsers > 0 {
            stage.open_browsers(options.browsers).await?;
        }
        sleep(STEADY).await;
        stage.all_show(stage.began.elapsed(), RUNNING_LIMIT).await.context("streams before the fault")?;
        Ok(stage)
    }

    fn open(&mut self, launched: &[Launched]) -> Result<()> {
        for Launched { session, zone } in launched {
            let chance = self.chance.split();
            let viewer = Viewer::start(&self.tasks, &self.api, session, self.pace, chance, self.began)?;
            let among = if *zone == LONDON { &mut self.viewers } else { &mut self.bystanders };
            among.push(viewer);
        }
        Ok(())
    }

    /// Real browsers, with a session of london each.
    async fn open_browsers(&mut self, count: usize) -> Result<()> {
        let mut sessions = Vec::new();
        for _ in 0..count {
            sessions.push(running(&self.api, &self.workspace, LONDON).await?.session);
        }
        let setting = self.site.for_browsers()?;
        self.browsers = Some(Browsers::open(&setting, &sessions, &self.tasks, self.began).await?);
        Ok(())
    }

    fn pages(&self) -> &[Page] {
        self.browsers.as_ref().map(|browsers| &browsers.pages[..]).unwrap_or_default()
    }

    /// Everyone's viewers.
    fn all(&self) -> impl Iterator<Item = &Viewer> {
        self.viewers.iter().chain(&self.bystanders)
    }

    /// One of london's proxies, by chance, of those that carry streams.
    pub(crate) async fn any_proxy(&mut self) -> Part {
        let first = Part::proxy(LONDON, self.any_number());
        if self.api.gauge(&first, PROXY_STREAMS).await > 0 {
            return first;
        }
        // All came to the others: while one was new, balancers led few to it.
        let others = (1..=EACH).map(|number| Part::proxy(LONDON, number)).filter(|proxy| *proxy != first);
        for proxy in others {
            if self.api.gauge(&proxy, PROXY_STREAMS).await > 0 {
                return proxy;
            }
        }
        first
    }

    pub(crate) fn any_number(&mut self) -> u8 {
        u8::try_from(self.chance.index(EACH.into())).unwrap_or_default() + 1
    }

    /// Since the lab began.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The fault: from this moment on everything counts.
    pub(crate) fn strike<T>(&mut self, fault: impl FnOnce(&mut Site) -> Result<T>) -> Result<T> {
        let tickets = self.all().map(|viewer| viewer.journal().tickets).sum();
        self.struck = Some(Struck { at: self.began.elapsed(), cpu: self.site.cpu(), tickets });
        fault(&mut self.site)
    }

    fn struck_at(&self) -> Duration {
        self.struck.as_ref().map(|struck| struck.at).unwrap_or_default()
    }

    /// Since the fault.
    pub(crate) fn since_strike(&self) -> Duration {
        self.now().saturating_sub(self.struck_at())
    }

    /// A figure of this scenario's own.
    pub(crate) fn note(&mut self, name: &'static str, value: f64) {
        self.notes.insert(name, (value * 1000.0).round() / 1000.0);
    }

    /// The same, of which the largest stays.
    pub(crate) fn note_most(&mut self, name: &'static str, value: f64) {
        let before = self.notes.get(name).copied().unwrap_or(value);
        self.note(name, value.max(before));
    }

    /// Something that must hold besides what viewers see.
    pub(crate) fn expect(&mut self, holds: bool, otherwise: impl Into<String>) {
        if !holds {
            self.broken.push(otherwise.into());
        }
    }

    pub(crate) fn fare(&self) -> Fare {
        let mut fare = Fare { streams: self.viewers.len(), ..Fare::default() };
        for viewer in &self.viewers {
            let stream = self.seen_stream(viewer, self.now());
            let (resumed, restarted) = stream.journal.attaches_after(self.struck_at());
            fare.show += usize::from(stream.shows);
            fare.resumed += resumed;
            fare.restarted += restarted;
            fare.failed += usize::from(stream.journal.failure.is_some());
        }
        fare
    }

    /// Streams that noticed anything since the lab's beginning, but for their first attach.
    pub(crate) fn touched(&self) -> usize {
        let attaches = self.viewers.iter().map(|viewer| viewer.journal().attaches_after(Duration::ZERO));
        attaches.filter(|(resumed, begun)| resumed + begun > 1).count()
    }

    /// Streams that were resumed since the fault.
    pub(crate) fn resumed(&self) -> usize {
        let journals = self.viewers.iter().map(Viewer::journal);
        journals.filter(|journal| journal.attaches_after(self.struck_at()).0 > 0).count()
    }

    /// Requests that failed since the fault.
    pub(crate) fn requests_failed(&self) -> usize {
        self.probe.failed_after(self.struck_at())
    }

    /// Why they failed.
    pub(crate) fn request_troubles(&self) -> String {
        self.probe.troubles_after(self.struck_at()).join("; ")
    }

    /// What a person who watches should know.
    pub(crate) fn tell(&self, what: impl AsRef<str>) {
        tracing::info!(at_s = self.since_strike().as_secs(), "{}", what.as_ref());
    }

    /// Launches one more session in london; its id.
    pub(crate) async fn launch(&self) -> Result<String> {
        self.api.launch(&self.workspace, LONDON.name).await
    }

    /// Launches one more session in london, and waits until a new viewer sees its picture; the name of the agent that it was on.
    pub(crate) async fn launch_another(&mut self) -> Result<String> {
        let Launched { session, .. } = running(&self.api, &self.workspace, LONDON).await?;
        let agent = self.api.session(&session).await?.agent;
        let tasks = self.tasks.child();
        let viewer = Viewer::start(&tasks, &self.api, &session, self.pace, self.chance.split(), self.began)?;
        let until = Instant::now() + RUNNING_LIMIT;
        while viewer.status().frame_at.is_none() {
            ensure!(Instant::now() < until, "it shows nothing: {}", viewer.journal().last_word());
            sleep(LOOK_EVERY).await;
        }
        tasks.stop(TASKS_LIMIT).await;
        self.api.end(&session).await?;
        Ok(agent)
    }

    /// Opens new connections until one is refused; what the refusal says.
    pub(crate) async fn refused_connection(&self, limit: Duration) -> Result<String> {
        let session = &self.viewers.first().context("a scenario needs a session")?.session;
        let until = Instant::now() + limit;
        loop {
            if let Err(refused) = crate::viewer::try_once(&self.api, session).await {
                return Ok(format!("{refused:#}"));
            }
            ensure!(Instant::now() < until, "a new connection was not refused within {limit:?}");
            sleep(FRESH).await;
        }
    }

    /// Waits until a part calls itself ready.
    pub(crate) async fn ready(&self, part: &Part, limit: Duration) -> Result<()> {
        let url = format!("http://{}/readyz", part.ops());
        let until = Instant::now() + limit;
        while !self.api.is_good(&url).await {
            ensure!(Instant::now() < until, "{} was not ready within {limit:?}", part.name);
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Waits until every stream shows something again. Which of them do not in time is told, and judged.
    pub(crate) async fn all_back(&mut self, limit: Duration) {
        let from = self.struck_at() + SHOWN_AFTER;
        self.all_show_or_tell(from, limit).await;
    }

    /// Waits until every stream shows something anew.
    pub(crate) async fn all_show_anew(&mut self, limit: Duration) {
        self.all_show_or_tell(self.now() + SHOWN_AFTER, limit).await;
    }

    async fn all_show_or_tell(&mut self, from: Duration, limit: Duration) {
        if let Err(missing) = self.all_show(from, limit).await {
            self.expect(false, format!("{missing:#}"));
        }
    }

    /// Waits until the control plane answers requests again; how long that took.
    pub(crate) async fn answers(&self, limit: Duration) -> Result<Duration> {
        let from = self.began.elapsed();
        let until = Instant::now() + limit;
        while !self.probe.answered_after(from) {
            ensure!(Instant::now() < until, "the control plane did not answer within {limit:?}");
            sleep(LOOK_EVERY).await;
        }
        Ok(self.began.elapsed() - from)
    }

    /// Waits until every stream has shown a whole picture lately, and after `from`.
    async fn all_show(&self, from: Duration, limit: Duration) -> Result<()> {
        let asked = Instant::now();
        loop {
            let now = self.began.elapsed();
            let since = from.max(now.saturating_sub(FRESH + self.pace.every));
            let late = |status: Status| !status.attached || status.frame_at.is_none_or(|at| at < since);
            let failed = self.all().find(|viewer| viewer.status().failed);
            let is_late = self.all().any(|viewer| late(viewer.status()))
                || self.pages().iter().any(|page| late(page.status()));
            if !is_late {
                return Ok(());
            }
            if let Some(failed) = failed {
                bail!("the stream of session {} failed: {}", failed.session, failed.journal().last_word());
            }
            if asked.elapsed() > limit {
                let missing = self.missing(late);
                bail!(
                    "after {:.1} s {} of {} streams show nothing: {}",
                    asked.elapsed().as_secs_f64(),
                    missing.len(),
                    self.all().count() + self.pages().len(),
                    told(&missing)
                );
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// The sessions of all who are late, with the last that happened to them.
    fn missing(&self, late: impl Fn(Status) -> bool) -> Vec<(&String, String)> {
        let viewers = self.all().filter(|viewer| late(viewer.status()));
        let viewers = viewers.map(|viewer| (&viewer.session, viewer.journal().last_word()));
        let pages = self.pages().iter().filter(|page| late(page.status()));
        let pages = pages.map(|page| (&page.session, format!("a browser: {}", page.journal().last_word())));
        viewers.chain(pages).collect()
    }

    /// The states that the control plane tells of london's sessions, with how many have each.
    pub(crate) async fn states(&self) -> Result<BTreeMap<String, usize>> {
        let mut states = BTreeMap::<_, usize>::new();
        let known = self.api.states().await?;
        for viewer in &self.viewers {
            let state = known.get(&viewer.session).cloned().unwrap_or_else(|| "unknown".into());
            *states.entry(state).or_default() += 1;
        }
        Ok(states)
    }

    /// Waits until the control plane calls all of london's sessions running; false when it does not.
    pub(crate) async fn all_called_running(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        loop {
            let states = self.states().await.unwrap_or_default();
            if states.len() == 1 && states.contains_key("running") {
                return true;
            }
            if Instant::now() > until {
                return false;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn seen_stream(&self, viewer: &Viewer, until: Duration) -> SeenStream {
        let shows = self.shows(viewer.status(), until);
        SeenStream { session: viewer.session.clone(), shows, journal: viewer.journal() }
    }

    fn shows(&self, status: Status, until: Duration) -> bool {
        status.attached && status.frame_at.is_some_and(|at| at + FRESH + self.pace.every >= until)
    }

    /// What browsers' pages received and show, asked one after the other.
    async fn seen_pages(&self) -> Vec<SeenStream> {
        let mut seen = Vec::new();
        for page in self.pages() {
            let judged = page.judge().await;
            let shows = self.shows(page.status(), self.now());
            let mut journal = page.journal();
            if let Err(trouble) = judged {
                journal.failure = Some(format!("{trouble:#}"));
            }
            seen.push(SeenStream { session: page.session.clone(), shows, journal });
        }
        seen
    }

    /// What was seen since the fault. Everything has ended when this returns; what is measured was measured when `measured` is cancelled.
    pub(crate) async fn end(self, measured: &CancellationToken) -> Result<(Seen, Result<()>)> {
        let struck = self.struck.as_ref().context("the scenario struck nothing")?;
        let browsers = self.seen_pages().await;
        let until = self.began.elapsed();
        let tickets: u64 = self.all().map(|viewer| viewer.journal().tickets).sum();
        let mut seen = Seen {
            from: struck.at,
            until,
            streams: self.viewers.iter().map(|viewer| self.seen_stream(viewer, until)).collect(),
            browsers,
            bystanders: self.bystanders.iter().map(|viewer| self.seen_stream(viewer, until)).collect(),
            not_running: Vec::new(),
            requests_failed: self.probe.failed_after(struck.at),
            last_failure: self.probe.last_failure_after(struck.at),
            tickets: tickets - struck.tickets,
            cpu: self.site.cpu().saturating_sub(struck.cpu),
            notes: self.notes.clone(),
            broken: self.broken.clone(),
            troubles: Vec::new(),
        };
        measured.cancel();
        self.tasks.stop(TASKS_LIMIT).await;
        seen.not_running = self.not_running().await;
        seen.troubles = self.site.troubles(4);
        let stopped = self.site.stop().await;
        Ok((seen, stopped))
    }

    /// Ends everything, and judges nothing.
    pub(crate) async fn close(self) -> Result<()> {
        self.tasks.stop(TASKS_LIMIT).await;
        self.site.stop().await
    }

    /// Sessions that the control plane does not call running, after it had time to learn better.
    async fn not_running(&self) -> Vec<String> {
        let until = Instant::now() + STATES_LIMIT;
        loop {
            let known = self.api.states().await;
            let wrong: Vec<_> = match &known {
                Ok(states) => {
                    let state = |session: &String| states.get(session).map_or("unknown", String::as_str);
                    let viewed = self.all().map(|viewer| &viewer.session);
                    let sessions = viewed.chain(self.pages().iter().map(|page| &page.session));
                    let wrong = sessions.filter(|session| state(session) != "running");
                    wrong.map(|session| format!("session {session} is {}", state(session))).collect()
                }
                Err(error) => vec![format!("the states of sessions: {error:#}")],
            };
            if wrong.is_empty() || Instant::now() > until {
                return wrong;
            }
            sleep(FRESH).await;
        }
    }
}

/// Which streams, and what befell each last; of many only some.
fn told(missing: &[(&String, String)]) -> String {
    let some = missing.iter().take(MAX_TOLD);
    let some = some.map(|(session, word)| format!("that of session {session} ({word})"));
    let more = missing.len().saturating_sub(MAX_TOLD);
    let more = (more > 0).then(|| format!("{more} more"));
    some.chain(more).collect::<Vec<_>>().join(", ")
}

/// Waits until every agent and proxy has reported.
async fn nodes_ready(api: &Api) -> Result<()> {
    let expected = usize::from(EACH) * 4;
    let until = Instant::now() + RUNNING_LIMIT;
    loop {
        let ready = api.nodes_ready().await?;
        if ready >= expected {
            return Ok(());
        }
        ensure!(Instant::now() < until, "{ready} of {expected} nodes are ready");
        sleep(LOOK_EVERY).await;
    }
}

async fn running(api: &Api, workspace: &str, zone: Zone) -> Result<Launched> {
    let session = api.launch(workspace, zone.name).await?;
    runs(api, &session).await?;
    Ok(Launched { session, zone })
}

/// Waits until a session that was launched runs.
pub(crate) async fn runs(api: &Api, session: &str) -> Result<()> {
    let until = Instant::now() + RUNNING_LIMIT;
    loop {
        let SessionState { state, said, agent } = api.session(session).await?;
        match state.as_str() {
            "running" => return Ok(()),
            "starting" if Instant::now() < until => sleep(LAUNCH_LOOK_EVERY).await,
            state => bail!("session {session} on {agent} is {state} and does not run: {said}"),
        }
    }
}
