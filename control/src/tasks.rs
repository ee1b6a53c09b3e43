//! Background work: each job looks at what is and makes it what it should be, on a period.
//!
//! Any number of Web App nodes may run them at once: each is one idempotent statement, or holds a lock of its own.
//!
//! A job keeps its own health. Readiness names what fails: `database` while any job does not get through to it; the job's own name when it
//! fails for another reason several times in a row. A row that cannot be worked on is an error in the log, and no reason to send users
//! elsewhere: every other node would find the same.

mod standing;

use std::{future::Future, time::Duration};

use meridian_ids::NodeId;
use tokio::{sync::Mutex, time::Instant};

use crate::{state::AppState, store::StoreError};
use standing::Standings;

/// Longer than an agent may be silent (`node_is_reachable_v1`): so long it gets to report after this node could not hear it.
const REPORT_GRACE: Duration = Duration::from_secs(10);
/// A job that failed is tried again after this time, if its period is longer.
const RETRY: Duration = Duration::from_secs(2);
/// Sessions whose time is over that are acted on by one statement. More wait for the next turn.
const LIMITS_BATCH: i32 = 200;
/// Of one measurement of the distance to the database.
const ROUND_TRIPS: usize = 5;
/// Rows of a kind that are removed by one statement.
const CLEAN_UP_BATCH: i32 = 1000;
/// Statements of one cleaning: what is left waits for the next.
const CLEAN_UP_ROUNDS: usize = 50;

/// Starts every job.
pub(crate) fn start(state: &AppState, web_node: NodeId) {
    let standings = Standings::new(state.health.clone());
    let every = |name, period, work| run(state, &standings, name, period, work);
    let hearing = std::sync::Arc::new(Mutex::new(Hearing::since(Instant::now())));
    every(
        "mark_unreachable",
        Duration::from_secs(1),
        job(move |state| {
            let hearing = hearing.clone();
            async move { mark_unreachable(&state, &mut *hearing.lock().await).await }
        }),
    );
    every(
        "learn_time",
        Duration::from_secs(30),
        job(|state| async move { state.store.learn_time(&state.clock).await }),
    );
    every(
        "touch_web_node",
        Duration::from_secs(3),
        job(move |state| async move { touch_web_node(&state, web_node).await }),
    );
    every("act_on_limits", Duration::from_secs(5), job(act_on_limits));
    every("tend_watches", Duration::from_secs(2), job(tend_watches));
    every(
        "measure_distance",
        Duration::from_secs(30),
        job(move |state| async move { measure_distance(&state, web_node).await }),
    );
    every("audit_counters", Duration::from_secs(60), job(audit_counters));
    every("clean_up", Duration::from_secs(60), job(clean_up));
    every("touch_keys", Duration::from_secs(10), job(touch_keys));
}

/// Since when this node hears agents without a break. Their silence is only theirs when it could have heard them.
#[derive(Debug)]
struct Hearing {
    since: Instant,
    last_look: Instant,
}

impl Hearing {
    fn since(now: Instant) -> Self {
        Self { since: now, last_look: now }
    }

    /// Whether silence may be judged now. A process that was stopped for a while heard nobody, either.
    fn look(&mut self, now: Instant) -> bool {
        if now - self.last_look >= REPORT_GRACE {
            self.since = now;
        }
        self.last_look = now;
        now - self.since >= REPORT_GRACE
    }

    /// The database was away: what agents reported meanwhile was not written down.
    fn broke(&mut self, now: Instant) {
        self.since = now;
        self.last_look = now;
    }
}

async fn touch_web_node(state: &AppState, web_node: NodeId) -> Result<(), StoreError> {
    if state.store.touch_web_node(web_node).await? {
        tracing::warn!(
            "this Web App node was removed while it did not answer; it serves, so it is listed again"
        );
    }
    Ok(())
}

async fn mark_unreachable(state: &AppState, hearing: &mut Hearing) -> Result<(), StoreError> {
    let outcome = if hearing.look(Instant::now()) {
        state.store.mark_unreachable().await
    } else {
        // An outage while it waits is noticed all the same.
        state.store.ping().await.map(|()| 0)
    };
    if outcome.is_err() {
        hearing.broke(Instant::now());
    }
    if let Ok(marked @ 1..) = u64::try_from(outcome?) {
        state.metrics.unreachable.inc_by(marked);
        tracing::warn!(
            sessions = marked,
            "agents fell silent; their sessions are unreachable and keep their places"
        );
    }
    Ok(())
}

/// Sessions reach their time limit, or nobody uses them.
async fn act_on_limits(state: AppState) -> Result<(), StoreError> {
    let done = state.store.act_on_limits(LIMITS_BATCH).await?;
    if done.acted > 0 {
        let ended = done.pushes.len();
        tracing::info!(sessions = done.acted, ended, "sessions reached a limit of their users' policies");
    }
    for push in done.pushes {
        state.pusher.push(push);
    }
    Ok(())
}

/// Questions that nobody answers, looking on whose time is over, and that of people who may not any more.
async fn tend_watches(state: AppState) -> Result<(), StoreError> {
    let closed = state.store.tend_watches().await?;
    if closed > 0 {
        tracing::info!(closed, "looking on, or the question whether one may, is over");
    }
    Ok(())
}

/// How far this node is from its database: the shortest of a few round trips, since waiting for anything else only adds. Every click of a
/// user waits that long.
async fn measure_distance(state: &AppState, web_node: NodeId) -> Result<(), StoreError> {
    let mut shortest = Duration::MAX;
    for _ in 0..ROUND_TRIPS {
        let started = Instant::now();
        state.store.ping().await?;
        shortest = shortest.min(started.elapsed());
    }
    let round_trip_ms = (shortest.as_secs_f64() * 100_000.0).round() / 100.0;
    state.store.keep_distance(web_node, round_trip_ms).await
}

async fn audit_counters(state: AppState) -> Result<(), StoreError> {
    let corrected = state.store.audit_counters().await?;
    if corrected > 0 {
        tracing::error!(
            corrected,
            "counters did not fit the reservations they stand for; they were put right"
        );
    }
    Ok(())
}

async fn clean_up(state: AppState) -> Result<(), StoreError> {
    for _ in 0..CLEAN_UP_ROUNDS {
        if !state.store.clean_up(state.settings.retention, CLEAN_UP_BATCH).await? {
            break;
        }
    }
    // Somebody or something was deleted in the moment in which the machine was removed, too.
    state.store.forget_lost_homes().await.map(drop)
}

/// Uses that cannot be written down are forgotten: they come again with the next call, or the key is used no more.
async fn touch_keys(state: AppState) -> Result<(), StoreError> {
    let uses = state.key_uses.take();
    if uses.is_empty() {
        return Ok(());
    }
    state.store.touch_keys(&uses).await
}

type Work =
    Box<dyn Fn(AppState) -> futures_util::future::BoxFuture<'static, Result<(), StoreError>> + Send + Sync>;

fn job<F>(work: impl Fn(AppState) -> F + Send + Sync + 'static) -> Work
where
    F: Future<Output = Result<(), StoreError>> + Send + 'static,
{
    Box::new(move |state| Box::pin(work(state)))
}

fn run(state: &AppState, standings: &Standings, name: &'static str, period: Duration, work: Work) {
    let (shared, standings) = (state.clone(), standings.clone());
    state.tasks.spawn_until_stop(name, async move {
        loop {
            let outcome = work(shared.clone()).await;
            standings.note(name, &outcome);
            tokio::time::sleep(if outcome.is_ok() { period } else { period.min(RETRY) }).await;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_judged_only_after_agents_had_time_to_report() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut hearing = Hearing::since(at(0));
        assert!(!hearing.look(at(2)) && !hearing.look(at(9)), "it just began to listen");
        assert!(hearing.look(at(10)));
        hearing.broke(at(12));
        assert!(!hearing.look(at(14)) && !hearing.look(at(21)), "the database was away");
        assert!(hearing.look(at(22)));
        assert!(!hearing.look(at(60)), "the process itself was away");
        assert!(!hearing.look(at(69)));
        assert!(hearing.look(at(70)));
    }
}
