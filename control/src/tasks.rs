//! Background work: each job looks at what is and makes it what it should be, on a period.
//!
//! Any number of Web App nodes may run them at once: each is one idempotent statement.

use std::{future::Future, time::Duration};

use crate::{state::AppState, store::StoreError};

/// Starts every job.
pub(crate) fn start(state: &AppState, web_node: meridian_ids::NodeId) {
    every(state, "mark_unreachable", Duration::from_secs(2), |state| async move {
        let marked = state.store.mark_unreachable().await?;
        if let Ok(marked @ 1..) = u64::try_from(marked) {
            state.metrics.unreachable.inc_by(marked);
            tracing::warn!(
                sessions = marked,
                "agents fell silent; their sessions are unreachable and keep their places"
            );
        }
        Ok(())
    });
    every(state, "learn_time", Duration::from_secs(30), |state| async move {
        state.store.learn_time(&state.clock).await
    });
    every(state, "touch_web_node", Duration::from_secs(3), move |state| async move {
        state.store.touch_web_node(web_node).await
    });
    every(state, "audit_counters", Duration::from_secs(60), |state| async move {
        let corrected = state.store.audit_counters().await?;
        if corrected > 0 {
            tracing::error!(
                corrected,
                "counters did not fit the reservations they stand for; they were put right"
            );
        }
        Ok(())
    });
    every(state, "clean_up", Duration::from_secs(60), |state| async move {
        state.store.clean_up().await.map(drop)
    });
}

fn every<F, W>(state: &AppState, name: &'static str, period: Duration, work: W)
where
    W: Fn(AppState) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), StoreError>> + Send + 'static,
{
    let shared = state.clone();
    state.tasks.spawn_until_stop(name, async move {
        let mut failing = false;
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let outcome = work(shared.clone()).await;
            // Once when it begins and once when it is over: an outage of the database is one event, not thousands.
            match (&outcome, failing) {
                (Err(error), false) => {
                    tracing::warn!(job = name, %error, "a job does not get through to the database")
                }
                (Ok(()), true) => tracing::info!(job = name, "the job works again"),
                (Err(_), true) | (Ok(()), false) => {}
            }
            match &outcome {
                Err(error) => shared.health.degrade("database", error.to_string()),
                Ok(()) => shared.health.restore("database"),
            }
            failing = outcome.is_err();
        }
    });
}
