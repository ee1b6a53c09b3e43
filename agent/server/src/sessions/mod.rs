//! The sessions of this agent: what should be, what is, and the one task that brings the two together.
//!
//! The owner task takes updates, the engine's hints and the results of its own work from one bounded inbox, and looks at everything
//! again on a period, which is the guarantee. What others may know (the heartbeat, the streams) it publishes as a [`View`].

mod ledger;
mod owner;
mod record;
mod report;
mod step;
mod view;

use std::{io, sync::Arc, time::Duration};

use meridian_engine::Engine;
use meridian_node::NodeClient;
use meridian_runtime::{Clock, Tasks};
use meridian_settings::AgentSettings;
use meridian_wire::Update;
use tokio::sync::{mpsc, watch};

use crate::{homes::Homes, images::Images, stream::Streams};
use ledger::Ledger;
use owner::{Event, Owner, Parts};
pub(crate) use view::{Phase, Standing, View};

/// Results of work that wait for the owner.
const INBOX: usize = 256;

/// A handle to the owner task. Clones share it.
#[derive(Clone)]
pub(crate) struct Sessions {
    view: watch::Receiver<Arc<View>>,
    inbox: mpsc::Sender<Event>,
}

impl Sessions {
    /// Reads what was remembered and starts the owner.
    pub(crate) fn start(
        tasks: &Tasks,
        engine: Arc<dyn Engine>,
        images: Images,
        settings: &AgentSettings,
        clock: &Clock,
        client: &NodeClient,
        streams: Streams,
    ) -> io::Result<Self> {
        let ledger = Ledger::open(&settings.node.data.join("sessions"), clock.now())?;
        let (inbox, events) = mpsc::channel(INBOX);
        let (publish, view) = watch::channel(Arc::default());
        let parts = Parts {
            engine,
            images,
            streams,
            tasks: tasks.clone(),
            clock: clock.clone(),
            inbox: inbox.clone(),
            display_wait: Duration::from_secs(settings.display_wait_s.max(1)),
            client: client.clone(),
        };
        tasks.spawn_until_stop("sessions", Owner::new(parts, ledger, publish).run(events));
        Ok(Self { view, inbox })
    }

    /// Feeds the owner, and that of the images, with the control plane's updates.
    pub(crate) fn take_updates(
        &self,
        tasks: &Tasks,
        mut updates: mpsc::Receiver<Update>,
        images: Images,
        homes: Homes,
    ) {
        let inbox = self.inbox.clone();
        tasks.spawn_until_stop("updates", async move {
            while let Some(mut update) = updates.recv().await {
                if let Some(orders) = update.images.take() {
                    images.order(orders).await;
                }
                if let Some(forgotten) = update.forget_homes.take() {
                    homes.forget(forgotten);
                }
                if inbox.send(Event::Updated(Box::new(update))).await.is_err() {
                    return;
                }
            }
        });
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// For waiting until something about a session changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }
}
