//! A scripted viewer: one stream of one session, kept attached as the console keeps its own (console/app/stream/connection.ts).
//!
//! One task owns everything of a viewer; each WebSocket has a task of its own, and the two speak through bounded queues, so that a path
//! that takes nothing more holds up no other. When a path breaks it is replaced after a jittered wait: by the pass first, then in turns
//! with a new ticket. A path that looks dead is replaced while it still runs.

mod core;
mod entry;
mod journal;
mod key;
mod outbox;
mod path;
mod running;
mod script;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use meridian_runtime::Tasks;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use self::{core::Core, entry::WayBack, key::StreamKey, running::Running, script::Script};
pub(crate) use self::{
    entry::Way,
    journal::Journal,
    script::{HEIGHT, Pace},
};
use crate::{api::Api, chance::Chance};

/// A path that lived so long starts the backoff anew when it breaks.
pub(crate) const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// Messages between a path and its viewer.
const QUEUE: usize = 64;

/// How a viewer fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) attached: bool,
    /// When the latest whole picture came, since the lab began.
    pub(crate) frame_at: Option<Duration>,
    /// It will not come back.
    pub(crate) failed: bool,
}

/// A viewer that runs until its tasks stop.
pub(crate) struct Viewer {
    pub(crate) session: String,
    status: watch::Receiver<Status>,
    journal: Arc<Mutex<Journal>>,
}

impl Viewer {
    /// Opens a stream of a session; `began` is when the lab did.
    pub(crate) fn start(
        tasks: &Tasks,
        api: &Api,
        session: &str,
        pace: Pace,
        chance: Chance,
        began: Instant,
    ) -> Result<Self> {
        let key = StreamKey::generate()?;
        let (events, inbox) = mpsc::channel(QUEUE);
        let (status, seen) = watch::channel(Status::default());
        let journal = Arc::<Mutex<Journal>>::default();
        let running = Running {
            thumbprint: key.thumbprint()?,
            api: api.clone(),
            trust: api.trust.own(),
            session: session.to_owned(),
            tasks: tasks.clone(),
            chance,
            began,
            core: Core::new(key),
            script: Script::new(pace),
            journal: Arc::clone(&journal),
            status,
            events,
            paths: BTreeMap::new(),
            opening: false,
            attempt: 0,
            attached_at: None,
            retry_at: Some(began.elapsed()),
            way_back: WayBack::default(),
            wants_another: false,
            suspect: None,
            over: false,
        };
        tasks.spawn("viewer", running.run(inbox));
        Ok(Self { session: session.to_owned(), status: seen, journal })
    }

    pub(crate) fn status(&self) -> Status {
        *self.status.borrow()
    }

    pub(crate) fn journal(&self) -> Journal {
        lock(&self.journal).clone()
    }
}

/// Opens a path with a new ticket and leaves at once, for a viewer that is not attached.
pub(crate) async fn try_once(api: &Api, session: &str) -> Result<()> {
    let way = api.connect(session, &StreamKey::generate()?.thumbprint()?).await?;
    entry::open(&way, &api.trust.own(), None, &mut Chance::new(1)).await.map(drop)
}

fn lock(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}
