//! What the node has and can do, asked of the engine now and then, for the heartbeat.

use std::{sync::Arc, time::Duration};

use meridian_engine::{Capabilities, Disk, Engine, EngineError, Image};
use meridian_model::Network;
use meridian_runtime::{Health, Tasks};
use meridian_wire::{AgentReport, DiskReport, ImageReport, ProblemReport};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep, timeout},
};

const PERIOD: Duration = Duration::from_secs(10);
/// An engine that is away is asked again sooner.
const RETRY: Duration = Duration::from_secs(2);
/// How long the agent's start waits for the first answer, so that its first heartbeat says something.
const FIRST_ANSWER_LIMIT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Default)]
struct Known {
    asked: bool,
    /// The last that was known; an engine that is away does not make the node forget what it is.
    capabilities: Option<Capabilities>,
    images: Vec<Image>,
    /// When the engine was asked for them.
    listed_at: Option<Instant>,
    trouble: Option<String>,
}

/// The latest answers. Clones share them.
#[derive(Clone)]
pub(crate) struct Inventory {
    known: watch::Receiver<Known>,
    again: Arc<Notify>,
}

impl Inventory {
    pub(crate) async fn start(tasks: &Tasks, engine: Arc<dyn Engine>, health: Health) -> Self {
        let (sender, known) = watch::channel(Known::default());
        let again = Arc::new(Notify::new());
        let asked_again = Arc::clone(&again);
        tasks.spawn_until_stop("inventory", async move {
            loop {
                let asked_at = Instant::now();
                let wait = match ask(engine.as_ref()).await {
                    Ok((capabilities, images)) => {
                        health.restore("engine");
                        sender.send_replace(Known {
                            asked: true,
                            capabilities: Some(capabilities),
                            images,
                            listed_at: Some(asked_at),
                            trouble: None,
                        });
                        PERIOD
                    }
                    Err(error) => {
                        let text = error.to_string();
                        if sender.borrow().trouble.as_ref() != Some(&text) {
                            tracing::warn!(hop = "engine", %error, "the node's capabilities are not known");
                        }
                        health.degrade("engine", text.clone());
                        sender.send_modify(|known| {
                            known.asked = true;
                            known.trouble = Some(text);
                        });
                        RETRY
                    }
                };
                tokio::select! {
                    () = sleep(wait) => {}
                    () = asked_again.notified() => {}
                }
            }
        });
        let mut first = known.clone();
        // An engine that does not answer in time is reported as a problem, and asked on.
        let _ = timeout(FIRST_ANSWER_LIMIT, first.wait_for(|known| known.asked)).await;
        Self { known, again }
    }

    /// Asks the engine now: something about its images changed.
    pub(crate) fn look_again(&self) {
        self.again.notify_one();
    }

    /// For waiting until the engine was asked again.
    pub(crate) fn lists(&self) -> Lists {
        Lists(self.known.clone())
    }

    /// The images that the engine listed last, and when it was asked for them.
    pub(crate) fn listed(&self) -> Option<(Instant, Vec<Image>)> {
        let known = self.known.borrow();
        known.listed_at.map(|asked_at| (asked_at, known.images.clone()))
    }

    pub(crate) fn disk(&self) -> Option<Disk> {
        self.known.borrow().capabilities.as_ref()?.disk
    }

    /// The agent's report without its sessions.
    pub(crate) fn report(&self) -> AgentReport {
        let known = self.known.borrow();
        let Some(capabilities) = &known.capabilities else { return AgentReport::default() };
        let images = known
            .images
            .iter()
            .map(|image| ImageReport { reference: image.reference.clone(), image_id: image.id.clone() });
        AgentReport {
            total: capabilities.total,
            images: images.collect(),
            home_storage: capabilities.home_storage.as_str().into(),
            network_modes: capabilities
                .networks
                .iter()
                .copied()
                .map(Network::as_str)
                .map(String::from)
                .collect(),
            // No engine gives workspaces a card yet.
            gpus: 0,
            disk: capabilities.disk.map(|disk| DiskReport { free_mb: disk.free_mb, total_mb: disk.total_mb }),
            keeps_homes: capabilities.keeps_homes,
            ..AgentReport::default()
        }
    }

    pub(crate) fn problems(&self) -> Vec<ProblemReport> {
        let known = self.known.borrow();
        let found = known.capabilities.iter().flat_map(|capabilities| &capabilities.problems);
        let mut problems: Vec<ProblemReport> = found
            .map(|problem| ProblemReport { code: problem.code.into(), message: problem.message.clone() })
            .collect();
        problems.extend(
            known.trouble.iter().map(|text| ProblemReport { code: "engine".into(), message: text.clone() }),
        );
        problems
    }
}

/// The engine's answers, as they come.
pub(crate) struct Lists(watch::Receiver<Known>);

impl Lists {
    /// Waits for the next; the error means that the agent stops.
    pub(crate) async fn changed(&mut self) -> Result<(), watch::error::RecvError> {
        self.0.changed().await
    }
}

async fn ask(engine: &dyn Engine) -> Result<(Capabilities, Vec<Image>), EngineError> {
    Ok((engine.capabilities().await?, engine.images().await?))
}
