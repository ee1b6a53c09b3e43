//! The records on disk, a file per session, each replaced whole.
//!
//! A tombstone that was carried out is kept for a month, so that an order that comes very late resurrects nothing; then, or when there are more than
//! [`MAX_GONE`], the oldest go.

use std::{
    collections::HashMap,
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp};
use meridian_ids::SessionId;

use super::record::{Record, Stage};

const KEEP_GONE: SignedDuration = SignedDuration::from_hours(30 * 24);
const MAX_GONE: usize = 10_000;

pub(super) struct Ledger {
    folder: PathBuf,
    records: HashMap<SessionId, Record>,
}

impl Ledger {
    /// Reads everything. A file that is not understood is an error: guessing could end a workspace or bring one back.
    pub(super) fn open(folder: &Path, now: Timestamp) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut records = HashMap::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                // The rest of a write that a crash interrupted.
                fs::remove_file(&path)?;
                continue;
            }
            let record: Record = serde_json::from_slice(&fs::read(&path)?).map_err(|error| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
            })?;
            records.insert(record.session(), record);
        }
        let mut ledger = Self { folder: folder.to_owned(), records };
        ledger.forget_old(now);
        Ok(ledger)
    }

    pub(super) fn get(&self, session: SessionId) -> Option<&Record> {
        self.records.get(&session)
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// Takes records that [`write`] has put on disk.
    pub(super) fn adopt(&mut self, written: Vec<Record>) {
        self.records.extend(written.into_iter().map(|record| (record.session(), record)));
    }

    /// Removes tombstones that nobody will ask about any more.
    pub(super) fn forget_old(&mut self, now: Timestamp) {
        let mut gone: Vec<(Timestamp, SessionId)> = self
            .records
            .values()
            .filter_map(|record| match record.stage {
                Stage::Gone { at } => Some((at, record.session())),
                Stage::Ordered
                | Stage::Started
                | Stage::Ready
                | Stage::Failed { .. }
                | Stage::Exited { .. }
                | Stage::Ending => None,
            })
            .collect();
        gone.sort_unstable();
        let too_many = gone.len().saturating_sub(MAX_GONE);
        for (index, (at, session)) in gone.into_iter().enumerate() {
            if index < too_many || now.duration_since(at) > KEEP_GONE {
                // Tried again at the next start when the disk refuses.
                let _ = fs::remove_file(path_of(&self.folder, session));
                self.records.remove(&session);
            }
        }
    }
}

/// Puts records on disk, so that they survive a loss of power; all of them, or an error.
pub(super) fn write(folder: &Path, records: &[Record]) -> io::Result<()> {
    for record in records {
        let path = path_of(folder, record.session());
        let temporary = path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
    }
    fs::File::open(folder)?.sync_all()
}

fn path_of(folder: &Path, session: SessionId) -> PathBuf {
    folder.join(format!("{session}.json"))
}

#[cfg(test)]
mod tests {
    use meridian_wire::{Command, DesiredSession};

    use super::*;

    fn gone(at: Timestamp) -> Record {
        let session_id = SessionId::generate();
        let command = Command::End { reason: "asked to".into() };
        let desired = DesiredSession { session_id, epoch: 1, generation: 2, command };
        Record { desired, stage: Stage::Gone { at } }
    }

    #[test]
    fn records_survive_and_old_tombstones_go() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let (old, young) = (gone(now - SignedDuration::from_hours(31 * 24)), gone(now));
        write(folder.path(), &[old.clone(), young.clone()]).unwrap();
        fs::write(folder.path().join("half.new"), "{").unwrap();
        let ledger = Ledger::open(folder.path(), now).unwrap();
        assert_eq!(ledger.get(young.session()), Some(&young));
        assert_eq!(ledger.get(old.session()), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_not_understood_stops_the_start() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x.json"), "{").unwrap();
        assert!(Ledger::open(folder.path(), Timestamp::UNIX_EPOCH).is_err());
    }
}
