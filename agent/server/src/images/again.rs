//! A tag may come to mean another image: those that are there by a tag of a registry are asked for again now and then.
//!
//! Each at a time of its own, one at once, and none while anything is being loaded. A digest means one image for ever, and of what lies here as an
//! archive no registry is asked. What cannot be asked for stays as it is: the image of before is used, and the node says so.

use std::{sync::Arc, time::Duration};

use meridian_engine::{Engine, EngineError, Login, Pull, PullError, Source};
use meridian_model::{ImageReference, registry_of};
use meridian_runtime::random_bytes;
use meridian_wire::{ImageState, ProblemReport};
use tokio::time::{Instant, timeout};

use super::{
    archives::Archives,
    entry::{Entry, Work},
    owner::{Event, LONGEST_PULL, Owner},
};

/// What failed is tried again after this part of the period.
const SOONER: u32 = 12;

/// When an image that is there is asked for again, and how that went.
#[derive(Default)]
pub(super) struct Again {
    due: Option<Instant>,
    pub(super) work: Option<Work>,
    failed: Option<String>,
}

impl Again {
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Why it could not be asked for the last time.
    pub(super) fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    fn plan(&mut self, now: Instant, period: Duration) {
        if self.work.is_none() && self.due.is_none() {
            self.due = Some(now + some_of(period));
        }
    }
}

/// A random part, of half or more: agents that were told together do not ask together.
fn some_of(period: Duration) -> Duration {
    let part = f64::from(u32::from_le_bytes(random_bytes())) / f64::from(u32::MAX);
    period.mul_f64(0.5 + part / 2.0)
}

/// Whether a registry may have another image under this name one day.
fn may_change(reference: &str) -> bool {
    registry_of(reference).is_some()
        && ImageReference::parse(reference).is_ok_and(|parsed| parsed.digest().is_none())
}

impl Entry {
    fn is_to_be_asked_for_again(&self, reference: &str) -> bool {
        self.is_wanted && matches!(self.state, ImageState::Present { .. }) && may_change(reference)
    }
}

impl Owner {
    /// Asks for one whose time has come, when nothing else is loaded.
    pub(super) fn look_again(&mut self) {
        let Some(period) = self.parts.look_again else { return };
        let now = Instant::now();
        for (reference, entry) in &mut self.entries {
            if entry.is_to_be_asked_for_again(reference) {
                entry.again.plan(now, period);
            } else {
                entry.again = Again::default();
            }
        }
        let is_busy = |entry: &Entry| entry.work.is_some() || entry.again.work.is_some();
        if self.entries.values().any(is_busy) || self.short_of_disk().is_some() {
            return;
        }
        let due = self.entries.iter().filter_map(|(reference, entry)| Some((entry.again.due?, reference)));
        let due = due.filter(|(due, _)| *due <= now).min().map(|(_, reference)| reference.clone());
        if let Some(reference) = due {
            self.ask_again(reference);
        }
    }

    fn ask_again(&mut self, reference: String) {
        let login = registry_of(&reference).and_then(|host| self.logins.get(host)).cloned();
        let (engine, archives) = (Arc::clone(&self.parts.engine), Arc::clone(&self.parts.archives));
        let (inbox, wanted) = (self.parts.inbox.clone(), reference.clone());
        self.begun += 1;
        let number = self.begun;
        let task = self.parts.tasks.spawn_until_stop("pull again", async move {
            let pulled = timeout(LONGEST_PULL, pull_again(engine.as_ref(), archives, &wanted, login)).await;
            let result = pulled.unwrap_or_else(|_| Err(PullError::Passing("it took too long".into())));
            // A closed inbox means that the agent stops.
            let _ = inbox.send(Event::AskedAgain { reference: wanted, number, result }).await;
        });
        if let Some(entry) = self.entries.get_mut(&reference) {
            entry.again.due = None;
            entry.again.work = Some(Work { number, progress: Arc::default(), task });
        }
    }

    pub(super) fn take_again(&mut self, reference: &str, number: u64, result: Result<(), PullError>) {
        let (Some(period), Some(entry)) = (self.parts.look_again, self.entries.get_mut(reference)) else {
            return;
        };
        let again = &mut entry.again;
        if again.work.as_ref().is_none_or(|work| work.number != number) {
            return;
        }
        again.work = None;
        match result {
            Ok(()) => {
                again.failed = None;
                // Whatever it means now is found in the engine's list.
                self.parts.inventory.look_again();
            }
            Err(error) => {
                tracing::warn!(image = reference, %error, "the tag could not be looked at again; the image of before is used");
                again.failed = Some(error.to_string());
                again.due = Some(Instant::now() + some_of(period / SOONER));
            }
        }
    }

    /// What the node says of images that may be out of date.
    pub(super) fn problems(&self) -> Vec<ProblemReport> {
        let failed: Vec<(&String, &str)> =
            self.entries.iter().filter_map(|(name, entry)| Some((name, entry.again.failed()?))).collect();
        let Some((reference, why)) = failed.first() else { return Vec::new() };
        let others = match failed.len() {
            1 => String::new(),
            number => format!(", and {} more", number - 1),
        };
        let message = format!(
            "the image of before is used, since {reference} could not be asked for again: {why}{others}"
        );
        vec![ProblemReport { code: "image_not_looked_at".into(), message }]
    }
}

/// Asks the registry for what its tag means now. The engine keeps what it has until the new image is whole.
async fn pull_again(
    engine: &dyn Engine,
    archives: Arc<Archives>,
    reference: &str,
    login: Option<Login>,
) -> Result<(), PullError> {
    let away = |error: EngineError| PullError::Passing(error.to_string());
    let wanted = reference.to_owned();
    let archive = tokio::task::spawn_blocking(move || archives.find(&wanted)).await;
    let archive = archive.map_err(|_| away(EngineError::Unavailable("the agent is stopping".into())))?;
    if archive.map_err(PullError::Lasting)?.is_some() {
        return Ok(());
    }
    let order = Pull { reference: reference.to_owned(), source: Source::Registry { login } };
    engine.pull(&order, &|_| {}).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_tag_of_a_registry_may_come_to_mean_another_image() {
        let digest = format!("registry.example.org/a@sha256:{}", "0".repeat(64));
        for (reference, may) in
            [("registry.example.org/a:1", true), (&*digest, false), ("meridian/desktop:dev", false)]
        {
            assert_eq!(may_change(reference), may, "{reference}");
        }
    }

    #[test]
    fn agents_do_not_ask_together_and_none_waits_longer_than_the_period() {
        let period = Duration::from_secs(1000);
        let waits: Vec<_> = (0..100).map(|_| some_of(period)).collect();
        assert!(waits.iter().all(|wait| (period / 2..=period).contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait != waits[0]), "{waits:?}");
    }
}
