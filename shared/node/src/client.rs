//! The node as its role sees it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use meridian_identity::{CallHeaders, IdentityError, NodeKey, NodeName, NodeTls, sign_call};
use meridian_ids::DeploymentId;
use meridian_model::NodeRole;
use meridian_runtime::{Clock, Tasks};
use meridian_settings::NodeSection;
use meridian_ticket::KeySet;
use meridian_wire::{AgentReport, NodeSettings, ProblemReport, Update};
use tokio::sync::{Notify, mpsc, watch};

use crate::{
    enrolment::{self, Description, JoinError, Membership},
    heartbeat,
    link::Link,
    memory::{Memory, Remembered},
    watch as watching,
};

/// How old the remembered last contact may become before it is written again: the disk is not touched by every heartbeat.
const CONTACT_SAVED_EVERY: SignedDuration = SignedDuration::from_mins(5);

/// What a role adds to each heartbeat.
#[derive(Clone, Debug, Default)]
pub struct HeartbeatParts {
    /// The version of the latest [`Update`] that the role carried out or wrote down; 0 asks for everything.
    pub since: i64,
    pub agent: Option<AgentReport>,
    pub problems: Vec<ProblemReport>,
    /// Live streams, of roles that carry them.
    pub streams: Option<u32>,
}

/// Why an update was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateRefused {
    #[error("the update is of another deployment")]
    Deployment,
    #[error(
        "the update is of epoch {found}, and {known} was seen already: a control plane that was replaced"
    )]
    Epoch { found: i64, known: i64 },
}

/// A joined node. Clones share everything.
#[derive(Clone)]
pub struct NodeClient {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) section: NodeSection,
    pub(crate) description: Description,
    pub(crate) key: NodeKey,
    pub(crate) tls: NodeTls,
    pub(crate) files: meridian_identity::NodeFiles,
    pub(crate) clock: Clock,
    memory: Memory,
    unsaved: Mutex<Unsaved>,
    remembered: Mutex<Known>,
    settings: watch::Sender<Option<Arc<NodeSettings>>>,
    pub(crate) wake: Notify,
    pub(crate) answered: AtomicU64,
}

struct Known {
    state: Remembered,
    /// The settings as text, to see whether they changed.
    settings_text: String,
    contact_saved_at: Option<Timestamp>,
}

/// What heartbeats and the watch brought and the disk does not have yet.
#[derive(Default)]
struct Unsaved {
    next: Option<Remembered>,
    saving: bool,
}

impl NodeClient {
    /// Reads the node's identity from its data directory, or enrols with the token; tries on while the Web App cannot be reached.
    ///
    /// # Errors
    /// As [`JoinError`] says: what trying again cannot mend.
    pub async fn join(section: &NodeSection, role: NodeRole, clock: Clock) -> Result<Self, JoinError> {
        let Membership { description, key, tls, files } = enrolment::join(section, role).await?;
        let memory = Memory::new(&section.data);
        let state = memory.load();
        let (settings, _) = watch::channel(state.settings.clone().map(Arc::new));
        let known = Known {
            settings_text: text_of(state.settings.as_ref()),
            contact_saved_at: state.contact_at,
            state,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                section: section.clone(),
                description,
                key,
                tls,
                files,
                clock,
                memory,
                unsaved: Mutex::default(),
                remembered: Mutex::new(known),
                settings,
                wake: Notify::new(),
                answered: AtomicU64::new(0),
            }),
        })
    }

    /// The node's TLS, both ends; a renewed certificate serves in it from the next handshake on.
    #[must_use]
    pub fn tls(&self) -> NodeTls {
        self.inner.tls.clone()
    }

    #[must_use]
    pub fn name(&self) -> NodeName {
        self.inner.description.name()
    }

    #[must_use]
    pub fn deployment_id(&self) -> DeploymentId {
        self.inner.description.deployment_id
    }

    /// The zone's name, as last heard.
    #[must_use]
    pub fn zone_name(&self) -> String {
        let heard = self.inner.settings.borrow().as_ref().and_then(|settings| settings.zone_name.clone());
        heard.or_else(|| self.inner.description.zone_name.clone()).unwrap_or_default()
    }

    /// Signs a call to the Upstream Auth Address at control-plane time.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn sign_call(&self, method: &str, path: &str, body: &[u8]) -> Result<CallHeaders, IdentityError> {
        sign_call(&self.inner.key, self.name().node, method, path, body, self.inner.clock.control_now())
    }

    /// The settings as last heard, from the disk after a restart. None until the control plane was heard once.
    #[must_use]
    pub fn settings(&self) -> watch::Receiver<Option<Arc<NodeSettings>>> {
        self.inner.settings.subscribe()
    }

    /// The keys that tickets and grants are checked with; empty until the control plane was heard once.
    #[must_use]
    pub fn keys(&self) -> KeySet {
        let settings = self.inner.settings.borrow();
        settings
            .as_ref()
            .and_then(|settings| serde_json::from_str(settings.jwks.get()).ok())
            .unwrap_or_default()
    }

    /// Control-plane time of the last contact with it.
    #[must_use]
    pub fn last_contact(&self) -> Option<Timestamp> {
        self.known().state.contact_at
    }

    /// The highest control epoch seen.
    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.known().state.epoch
    }

    /// How many heartbeats were answered since the node started.
    #[must_use]
    pub fn heartbeats_answered(&self) -> u64 {
        self.inner.answered.load(Ordering::Relaxed)
    }

    /// Sends a heartbeat soon: something changed that the control plane should know. Many calls make one heartbeat.
    pub fn wake(&self) {
        self.inner.wake.notify_one();
    }

    /// Speaks with the control plane until the tasks stop: heartbeats, the watch, renewal. `source` is asked at each heartbeat; updates
    /// go to `updates`, in the order in which they came, and a full queue slows both down.
    pub fn run(
        &self,
        tasks: &Tasks,
        source: impl Fn() -> HeartbeatParts + Send + Sync + 'static,
        updates: mpsc::Sender<Update>,
    ) {
        let source: Source = Arc::new(source);
        tasks.spawn_until_stop(
            "heartbeat",
            heartbeat::run(self.clone(), Arc::clone(&source), updates.clone()),
        );
        tasks.spawn_until_stop("watch", watching::run(self.clone(), source, updates));
    }

    /// Judges an update and takes from it what every role needs: epoch, time, settings. An update that came another way (an agent's
    /// push listener) goes through here first too.
    ///
    /// # Errors
    /// When the update is another deployment's or an older epoch's; nothing of it is taken then.
    pub async fn admit(&self, update: &Update) -> Result<(), UpdateRefused> {
        let Some(changed) = self.judge(update)? else { return Ok(()) };
        let client = self.clone();
        // A role that is stopping waits for no disk.
        let _ = tokio::task::spawn_blocking(move || client.save(&changed)).await;
        Ok(())
    }

    /// Judges an update and takes it into memory; what is to be saved, if anything.
    fn judge(&self, update: &Update) -> Result<Option<Remembered>, UpdateRefused> {
        if update.deployment_id != self.deployment_id() {
            return Err(UpdateRefused::Deployment);
        }
        self.take(update)
    }

    fn save(&self, changed: &Remembered) {
        if let Err(error) = self.inner.memory.save(changed) {
            tracing::error!(%error, "the control plane's settings could not be written to this node's disk");
        }
    }

    /// Saves beside everything else, of many changes the latest: a disk that takes seconds holds up no heartbeat, and so does not make the node
    /// look as if it were gone.
    fn save_beside(&self, changed: Remembered) {
        {
            let mut unsaved = self.unsaved();
            unsaved.next = Some(changed);
            if std::mem::replace(&mut unsaved.saving, true) {
                return;
            }
        }
        let client = self.clone();
        tokio::task::spawn_blocking(move || {
            while let Some(next) = client.next_unsaved() {
                client.save(&next);
            }
        });
    }

    fn next_unsaved(&self) -> Option<Remembered> {
        let mut unsaved = self.unsaved();
        let next = unsaved.next.take();
        unsaved.saving = next.is_some();
        next
    }

    fn unsaved(&self) -> std::sync::MutexGuard<'_, Unsaved> {
        self.inner.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an update into memory; what is to be saved, if it must be.
    fn take(&self, update: &Update) -> Result<Option<Remembered>, UpdateRefused> {
        let mut known = self.known();
        if update.epoch < known.state.epoch {
            return Err(UpdateRefused::Epoch { found: update.epoch, known: known.state.epoch });
        }
        self.inner.clock.learn_control_time(update.control_time);
        let mut save = update.epoch > known.state.epoch;
        known.state.epoch = update.epoch;
        known.state.contact_at = Some(update.control_time);
        if let Some(mut settings) = update.settings.clone() {
            if let Some(before) = &known.state.settings {
                settings.complete_from(before);
            }
            let text = text_of(Some(&settings));
            if text != known.settings_text {
                save = true;
                known.settings_text = text;
                known.state.settings = Some(settings.clone());
                self.inner.settings.send_replace(Some(Arc::new(settings)));
            }
        }
        let saved_at = known.contact_saved_at;
        save |= saved_at
            .is_none_or(|saved_at| update.control_time.duration_since(saved_at) >= CONTACT_SAVED_EVERY);
        if !save {
            return Ok(None);
        }
        known.contact_saved_at = Some(update.control_time);
        Ok(Some(known.state.clone()))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.inner.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A link of its own to the Web App's node listener.
    pub(crate) fn link(&self) -> Link {
        let via = self.inner.section.via.as_ref();
        let address = via.unwrap_or(&self.inner.description.node_listener).clone();
        Link::new(address, self.inner.tls.clone())
    }

    pub(crate) async fn deliver(&self, update: Update, updates: &mpsc::Sender<Update>) {
        match self.judge(&update) {
            Ok(changed) => {
                if let Some(changed) = changed {
                    self.save_beside(changed);
                }
                // A closed queue means that the role is stopping.
                drop(updates.send(update).await);
            }
            Err(reason) => tracing::error!(%reason, "an update of the control plane is refused"),
        }
    }
}

pub(crate) type Source = Arc<dyn Fn() -> HeartbeatParts + Send + Sync>;

/// A wait that cannot keep a stopping role: the caller runs under `spawn_until_stop`.
pub(crate) async fn pause(wait: Duration) {
    tokio::time::sleep(wait).await;
}

fn text_of(settings: Option<&NodeSettings>) -> String {
    settings.and_then(|settings| serde_json::to_string(settings).ok()).unwrap_or_default()
}
