//! One image: how it stands, who waits for it, and when it is tried again.
//!
//! ```text
//! Queued ──> Pulling ──> Present ──(taken away by somebody)──> Queued
//!               │
//!               └──> Failed ──(when it is due)──> Pulling
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use meridian_engine::{Image, Loaded, PullError};
use meridian_runtime::Backoff;
use meridian_wire::{ImageStanding, ImageState};
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use super::{Need, again::Again};

const FIRST_RETRY: Duration = Duration::from_secs(2);
const LONGEST_RETRY: Duration = Duration::from_secs(5 * 60);
const MB: u64 = 1 << 20;

/// How far a pull has come: written by the pull, read by the owner when it is time.
#[derive(Debug, Default)]
pub(super) struct Progress {
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
}

impl Progress {
    pub(super) fn note(&self, loaded: Loaded) {
        self.done_bytes.store(loaded.done_bytes, Ordering::Relaxed);
        self.total_bytes.store(loaded.total_bytes, Ordering::Relaxed);
    }
}

/// A pull that is under way; it ends when it is dropped.
pub(super) struct Work {
    pub(super) number: u64,
    pub(super) progress: Arc<Progress>,
    pub(super) task: JoinHandle<()>,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) struct Entry {
    /// The zone wants it.
    pub(super) is_wanted: bool,
    pub(super) state: ImageState,
    pub(super) work: Option<Work>,
    /// When it was seen on the node last; an older list that lacks it says nothing.
    pub(super) seen_at: Option<Instant>,
    pub(super) again: Again,
    waiting: Vec<watch::Sender<Need>>,
    backoff: Backoff,
    due: Instant,
    tries: u32,
}

impl Entry {
    pub(super) fn new() -> Self {
        Self {
            is_wanted: false,
            state: ImageState::Queued,
            work: None,
            seen_at: None,
            again: Again::default(),
            waiting: Vec::new(),
            backoff: Backoff::new(FIRST_RETRY, LONGEST_RETRY),
            due: Instant::now(),
            tries: 0,
        }
    }

    pub(super) fn wait(&mut self, told: watch::Sender<Need>) {
        self.waiting.push(told);
        // Somebody who waits now is worth a try now.
        self.due = Instant::now();
    }

    /// Forgets those who do not wait any more; whether anybody does.
    pub(super) fn is_waited_for(&mut self) -> bool {
        self.waiting.retain(|told| !told.is_closed());
        !self.waiting.is_empty()
    }

    /// Whether a pull should begin, if there is room.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.work.is_none() && !matches!(self.state, ImageState::Present { .. }) && self.due <= now
    }

    /// When to look at it again, if it waits for its time.
    pub(super) fn due(&self) -> Option<Instant> {
        matches!(self.state, ImageState::Failed { .. }).then_some(self.due)
    }

    pub(super) fn try_now(&mut self) {
        self.due = Instant::now();
    }

    pub(super) fn begin(&mut self, work: Work) {
        self.state = ImageState::Pulling { done_bytes: 0, total_bytes: 0 };
        self.work = Some(work);
    }

    /// Takes the pull's numbers over.
    pub(super) fn read_progress(&mut self) {
        if let Some(work) = &self.work {
            self.state = ImageState::Pulling {
                done_bytes: work.progress.done_bytes.load(Ordering::Relaxed),
                total_bytes: work.progress.total_bytes.load(Ordering::Relaxed),
            };
        }
    }

    pub(super) fn found(&mut self, image: &Image, now: Instant) {
        self.state = ImageState::Present {
            image_id: image.id.clone(),
            digest: image.digest.clone(),
            size_bytes: image.size_bytes,
        };
        self.seen_at = Some(now);
        self.tries = 0;
        self.backoff.reset();
    }

    /// It was there, and is not any more.
    pub(super) fn missed(&mut self) {
        self.state = ImageState::Queued;
        self.seen_at = None;
    }

    pub(super) fn failed(&mut self, error: &PullError, control_now: Timestamp) {
        let wait = self.backoff.next_wait();
        self.due = Instant::now() + wait;
        self.tries += 1;
        let retry_at = control_now + SignedDuration::try_from(wait).unwrap_or_default();
        self.state = ImageState::Failed { reason: error.to_string(), retry_at, tries: self.tries };
        if let PullError::Lasting(reason) = error {
            for told in self.waiting.drain(..) {
                told.send_replace(Need::Refused(reason.clone()));
            }
        }
    }

    /// Tells those who wait what is new.
    pub(super) fn tell_waiting(&mut self, reference: &str) {
        if self.waiting.is_empty() {
            return;
        }
        let need = match &self.state {
            ImageState::Present { .. } => Need::Met,
            ImageState::Queued => Need::Waiting {
                message: format!("{reference} waits for other images to load"),
                percent: None,
            },
            ImageState::Pulling { done_bytes, total_bytes } => loading(reference, *done_bytes, *total_bytes),
            ImageState::Failed { reason, .. } => {
                Need::Waiting { message: format!("{reason}; it is tried again"), percent: None }
            }
        };
        for told in &self.waiting {
            told.send_if_modified(|known| {
                let is_news = *known != need;
                known.clone_from(&need);
                is_news
            });
        }
        if need == Need::Met {
            self.waiting.clear();
        }
    }

    pub(super) fn standing(&self, reference: &str) -> ImageStanding {
        ImageStanding { reference: reference.to_owned(), state: self.state.clone() }
    }
}

fn loading(reference: &str, done_bytes: u64, total_bytes: u64) -> Need {
    if total_bytes == 0 {
        return Need::Waiting { message: format!("loading {reference}"), percent: None };
    }
    let percent = done_bytes.saturating_mul(100) / total_bytes;
    let message = format!("loading {reference}: {} of {} MB", done_bytes / MB, total_bytes.div_ceil(MB));
    Need::Waiting { message, percent: u8::try_from(percent.min(100)).ok() }
}
