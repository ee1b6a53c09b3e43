//! What a node remembers of the control plane across restarts: epoch, settings, and when it last heard of it.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use meridian_wire::NodeSettings;
use serde::{Deserialize, Serialize};

/// The remembered state. The file is small and replaced whole.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Remembered {
    /// The highest control epoch seen.
    pub(crate) epoch: i64,
    /// Control-plane time of the last contact.
    #[serde(default)]
    pub(crate) contact_at: Option<Timestamp>,
    #[serde(default)]
    pub(crate) settings: Option<NodeSettings>,
}

/// Where it rests.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    path: PathBuf,
    /// What was written last: heartbeat and watch may learn something at once, and the older of the two must not stay.
    latest: Arc<Mutex<Option<Timestamp>>>,
}

impl Memory {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { path: folder.join("control.json"), latest: Arc::default() }
    }

    /// What was remembered; nothing when there is no file yet or it cannot be understood, because the control plane says all of it again.
    pub(crate) fn load(&self) -> Remembered {
        let Ok(text) = fs::read_to_string(&self.path) else { return Remembered::default() };
        serde_json::from_str(&text).unwrap_or_else(|error| {
            tracing::warn!(%error, path = %self.path.display(), "the remembered settings are not understood");
            Remembered::default()
        })
    }

    /// Replaces the file, whole or not at all, unless something later was written meanwhile.
    pub(crate) fn save(&self, remembered: &Remembered) -> std::io::Result<()> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if *latest > remembered.contact_at {
            return Ok(());
        }
        let text = serde_json::to_vec(remembered)?;
        let temporary = self.path.with_extension("new");
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        if let Some(folder) = self.path.parent() {
            fs::File::open(folder)?.sync_all()?;
        }
        *latest = remembered.contact_at;
        Ok(())
    }
}
