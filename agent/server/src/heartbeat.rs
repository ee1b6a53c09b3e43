//! What a heartbeat says. One that comes with the period says everything; one that was brought forward says of the sessions only what
//! changed: many launches at once bring many forward, and each would repeat all that runs.
//!
//! Nothing follows from a session's absence, so what is left out is only late, at most by the period.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use meridian_ids::SessionId;
use meridian_node::{HeartbeatParts, NodeClient};
use meridian_wire::{AgentReport, ImageReport, ImageStanding, ImageState, Observation, ObservedSession};
use tokio::time::Instant;

use crate::{
    homes::Homes,
    images::{Images, View as ImagesView},
    inventory::Inventory,
    sessions::Sessions,
    stream::Streams,
};

/// Everything is said this often, whatever is brought forward meanwhile.
const ALL_EVERY: Duration = Duration::from_secs(2);

/// What the control plane was told last.
#[derive(Default)]
struct Told {
    sessions: HashMap<SessionId, ObservedSession>,
    /// How many heartbeats had been answered before the last one: it was answered when there are more now.
    answered_before: u64,
    all_at: Option<Instant>,
}

impl Told {
    /// What is to be said now of all that was observed.
    fn news(&mut self, all: Vec<ObservedSession>, answered: u64, now: Instant) -> Vec<ObservedSession> {
        let is_heard = answered > self.answered_before;
        let is_time = self.all_at.is_none_or(|at| now >= at + ALL_EVERY);
        self.answered_before = answered;
        let known = std::mem::take(&mut self.sessions);
        self.sessions = all.iter().map(|seen| (seen.session_id, seen.clone())).collect();
        if is_time || !is_heard {
            self.all_at = Some(now);
            return all;
        }
        let is_news = |seen: &ObservedSession| {
            // The list of those in quarantine is told as a whole or not at all.
            seen.observation == Observation::Quarantined || known.get(&seen.session_id) != Some(seen)
        };
        all.into_iter().filter(is_news).collect()
    }
}

/// How all images stand is said this often also when nothing about them changed: a database that was restored knows nothing of it.
const IMAGES_EVERY: Duration = Duration::from_secs(60);

/// What the control plane was told last about images.
#[derive(Default)]
struct ToldImages {
    view: Option<Arc<ImagesView>>,
    answered_before: u64,
    all_at: Option<Instant>,
}

impl ToldImages {
    /// How the images stand, if that is to be said now.
    fn news(&mut self, view: Arc<ImagesView>, answered: u64, now: Instant) -> Option<Vec<ImageStanding>> {
        let is_heard = answered > self.answered_before;
        let is_time = self.all_at.is_none_or(|at| now >= at + IMAGES_EVERY);
        self.answered_before = answered;
        if is_heard && !is_time && self.view.as_ref() == Some(&view) {
            return None;
        }
        self.all_at = Some(now);
        let standings = view.standings.clone();
        self.view = Some(view);
        Some(standings)
    }
}

/// Those that are there under another name than the engine lists them by: launches look for them by the name that is wanted.
fn add_aliases(images: &mut Vec<ImageReport>, view: &ImagesView) {
    for standing in &view.standings {
        if let ImageState::Present { image_id, .. } = &standing.state
            && images.iter().all(|image| image.reference != standing.reference)
        {
            let (reference, image_id) = (standing.reference.clone(), image_id.clone());
            images.push(ImageReport { reference, image_id });
        }
    }
}

pub(crate) fn source(
    inventory: Inventory,
    images: Images,
    sessions: Sessions,
    streams: Streams,
    homes: Homes,
    client: NodeClient,
    direct_address: Option<String>,
) -> impl Fn() -> HeartbeatParts + Send + Sync + 'static {
    let told = Mutex::new((Told::default(), ToldImages::default()));
    move || {
        let view = sessions.view();
        let mut all = view.observed.clone();
        let is_heard = client.heartbeats_answered() > 0;
        for session in &mut all {
            session.streams = streams.count(session.session_id);
            if session.observation == Observation::Running {
                session.active_at = streams.active_at(session.session_id, is_heard);
            }
        }
        let carried = all.iter().map(|session| session.streams).sum();
        let (mut told, now) = (told.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        let answered = client.heartbeats_answered();
        let images = images.view();
        let mut report = AgentReport {
            sessions: told.0.news(all, answered, now),
            images_version: Some(images.version.clone()),
            standings: told.1.news(Arc::clone(&images), answered, now),
            reports_activity: is_heard,
            direct_address: direct_address.clone(),
            homes_gone: homes.gone(),
            frozen: homes.frozen(),
            watches: Some(streams.watches()),
            watches_ended: streams.watches_ended(),
            shared_homes: homes.storage(),
            ..inventory.report()
        };
        add_aliases(&mut report.images, &images);
        let mut problems = inventory.problems();
        // An engine that is away is noticed in both places.
        problems.retain(|problem| view.problems.iter().all(|other| other.code != problem.code));
        problems.extend(view.problems.iter().cloned());
        problems.extend(homes.problems());
        problems.extend(images.problems.iter().cloned());
        HeartbeatParts { since: view.since, agent: Some(report), problems, streams: Some(carried) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(session: SessionId, observation: Observation) -> ObservedSession {
        ObservedSession {
            session_id: session,
            epoch: 1,
            generation: 1,
            observation,
            streams: 0,
            active_at: None,
        }
    }

    #[test]
    fn all_is_said_with_the_period_and_after_silence_and_else_what_changed() {
        let (one, two) = (SessionId::generate(), SessionId::generate());
        let (mut told, start) = (Told::default(), Instant::now());
        let running = vec![seen(one, Observation::Running), seen(two, Observation::Running)];
        assert_eq!(told.news(running.clone(), 0, start), running, "the first");
        let soon = start + ALL_EVERY / 2;
        assert_eq!(told.news(running.clone(), 1, soon), [], "nothing changed");
        let changed = vec![seen(one, Observation::Gone), seen(two, Observation::Running)];
        assert_eq!(told.news(changed.clone(), 2, soon), changed[..1]);
        assert_eq!(told.news(changed.clone(), 2, soon), changed, "nobody answered the last one");
        assert_eq!(told.news(changed.clone(), 3, start + 2 * ALL_EVERY), changed, "the period");
    }

    #[test]
    fn how_images_stand_is_said_when_it_changes_and_until_it_was_heard() {
        let view = |state: ImageState| {
            let standings = vec![ImageStanding { reference: "a:1".into(), state }];
            Arc::new(ImagesView { version: "1".into(), standings, ..ImagesView::default() })
        };
        let (mut told, start) = (ToldImages::default(), Instant::now());
        let queued = view(ImageState::Queued);
        assert_eq!(told.news(Arc::clone(&queued), 0, start), Some(queued.standings.clone()), "the first");
        assert!(told.news(Arc::clone(&queued), 0, start).is_some(), "nobody answered");
        assert_eq!(told.news(Arc::clone(&queued), 1, start), None);
        let pulling = view(ImageState::Pulling { done_bytes: 1, total_bytes: 2 });
        assert_eq!(told.news(Arc::clone(&pulling), 2, start), Some(pulling.standings.clone()));
        assert_eq!(told.news(Arc::clone(&pulling), 3, start), None);
        assert!(told.news(pulling, 4, start + IMAGES_EVERY).is_some(), "now and then all the same");
    }

    #[test]
    fn those_in_quarantine_are_always_said() {
        let found = vec![seen(SessionId::generate(), Observation::Quarantined)];
        let (mut told, now) = (Told::default(), Instant::now());
        assert_eq!(told.news(found.clone(), 0, now), found);
        assert_eq!(told.news(found.clone(), 1, now), found);
    }
}
