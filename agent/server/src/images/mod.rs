//! Images ahead of need: those that the zone wants on each of its agents, and those that a session waits for.
//!
//! One owner task pulls them, a few at a time and those first that somebody waits for, from an archive on this host where there is one, else
//! from their registry. What failed is tried again, later each time; what is there by a tag is asked for again now and then ([`again`]). How each stands is published as a [`View`], which heartbeats
//! tell. Logins for registries are kept in memory alone. Nothing here takes an image away from the node.

mod again;
mod archives;
mod entry;
mod owner;

use std::{sync::Arc, time::Duration};

use meridian_engine::{Engine, EngineError, Step};
use meridian_node::NodeClient;
use meridian_runtime::{Clock, Tasks};
use meridian_settings::AgentSettings;
use meridian_wire::{ImageOrders, ImageStanding, ProblemReport};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use crate::inventory::Inventory;
use archives::Archives;
use owner::{Event, Owner, Parts};

/// Orders and results that wait for the owner.
const INBOX: usize = 64;

/// How the images stand, and which orders that answers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) version: String,
    pub(crate) standings: Vec<ImageStanding>,
    /// What is not as it should be, though the images are there.
    pub(crate) problems: Vec<ProblemReport>,
}

/// What somebody who waits for an image is told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Need {
    Waiting { message: String, percent: Option<u8> },
    Met,
    Refused(String),
}

/// A handle to the owner task. Clones share it.
#[derive(Clone)]
pub(crate) struct Images {
    inbox: mpsc::Sender<Event>,
    view: watch::Receiver<Arc<View>>,
    wait: Duration,
}

impl Images {
    pub(crate) fn start(
        tasks: &Tasks,
        engine: Arc<dyn Engine>,
        inventory: Inventory,
        settings: &AgentSettings,
        clock: &Clock,
        client: &NodeClient,
    ) -> Self {
        let (inbox, events) = mpsc::channel(INBOX);
        let (publish, view) = watch::channel(Arc::default());
        let parts = Parts {
            engine,
            inventory,
            archives: Arc::new(Archives::new(settings)),
            tasks: tasks.clone(),
            clock: clock.clone(),
            client: client.clone(),
            inbox: inbox.clone(),
            at_once: settings.pulls_at_once.max(1),
            keep_free_mb: settings.images_keep_free_mb,
            look_again: Some(Duration::from_secs(settings.images_look_again_s))
                .filter(|period| !period.is_zero()),
        };
        tasks.spawn_until_stop("images", Owner::new(parts, publish).run(events));
        Self { inbox, view, wait: Duration::from_secs(settings.image_wait_s.max(1)) }
    }

    pub(crate) async fn order(&self, orders: ImageOrders) {
        // A closed inbox means that the agent stops.
        let _ = self.inbox.send(Event::Ordered(orders)).await;
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Waits for an image that a session needs, and reports how far it has come. Whoever stops waiting is forgotten, and the pull with them,
    /// unless the zone wants the image too.
    ///
    /// # Errors
    /// When it cannot be had, or was not there in time.
    pub(crate) async fn need(
        &self,
        reference: &str,
        report: &(dyn Fn(Step) + Send + Sync),
    ) -> Result<(), EngineError> {
        let first = Need::Waiting { message: format!("waiting for {reference}"), percent: None };
        let (told, mut news) = watch::channel(first);
        let stopping = || EngineError::Unavailable("the agent is stopping".into());
        let asked = self.inbox.send(Event::Needed { reference: reference.to_owned(), told }).await;
        asked.map_err(|_| stopping())?;
        let mut latest = String::new();
        let met = timeout(self.wait, async {
            loop {
                let need = news.borrow_and_update().clone();
                match need {
                    Need::Waiting { message, percent } => {
                        latest.clone_from(&message);
                        report(Step::Image { message, percent });
                    }
                    Need::Met => return Ok(()),
                    Need::Refused(reason) => return Err(EngineError::Refused(reason)),
                }
                news.changed().await.map_err(|_| stopping())?;
            }
        })
        .await;
        met.unwrap_or_else(|_| {
            let limit = self.wait.as_secs();
            Err(EngineError::Refused(format!(
                "the image {reference} was not on the node within {limit} seconds: {latest}"
            )))
        })
    }
}
