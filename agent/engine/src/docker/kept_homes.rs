//! Homes that outlive their sessions, where the engine's storage has no quotas: each a file system of fixed size in a file of its own.
//!
//! `{folder}/{home}.img` is taken from the disk in full when the home is made, so that it is never promised twice; it is mounted at `{folder}/{home}`
//! while a session has it. The folder is the agent's alone. Only root can mount: another agent keeps no homes this way.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use meridian_ids::{HomeId, SessionId};
use rustix::{
    fs::{FallocateFlags, fallocate},
    mount::{UnmountFlags, unmount},
};

use crate::place::is_mounted;

/// Smaller file systems are of no use to anybody.
const LEAST_MB: i64 = 16;

/// The homes of one agent. Everything here waits for the disk.
#[derive(Clone, Debug)]
pub(super) struct KeptHomes {
    folder: PathBuf,
    user: (u32, u32),
    /// Homes that somebody works on: what waits for a slow disk goes on after whoever asked for it gave up.
    busy: Arc<Mutex<BTreeSet<HomeId>>>,
}

/// Nobody else of this process works on the home until it is dropped.
pub(super) struct Alone {
    home: HomeId,
    busy: Arc<Mutex<BTreeSet<HomeId>>>,
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.home);
    }
}

impl KeptHomes {
    pub(super) fn new(folder: PathBuf, user: (u32, u32)) -> Self {
        Self { folder, user, busy: Arc::default() }
    }

    /// Whether homes can be kept here: found out by keeping one.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn probe(&self) -> io::Result<()> {
        if !rustix::process::geteuid().is_root() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "only root can mount"));
        }
        let probe = HomeId::generate();
        let outcome = self.prepare(probe, LEAST_MB).map(drop);
        self.release(probe)?;
        self.remove(probe)?;
        outcome
    }

    /// Makes a home if there is none yet, and mounts it; where.
    ///
    /// # Errors
    /// When the disk has no room, or refuses.
    pub(super) fn prepare(&self, home: HomeId, size_mb: i64) -> io::Result<PathBuf> {
        let (image, place) = (self.image(home), self.place(home));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        if !image.try_exists()? {
            self.make(&image, size_mb.max(LEAST_MB))?;
        }
        open(&image, &place)?;
        Ok(place)
    }

    /// The same with a file that lies elsewhere, at a place of the session's own. Where it is not there yet it is a copy of `source`, if there is
    /// one: of another writer's, who perhaps writes on, so that the copy is put in order first.
    ///
    /// # Errors
    /// When the disk has no room, or refuses.
    pub(super) fn prepare_file(
        &self,
        image: &Path,
        source: Option<&Path>,
        size_mb: i64,
        place: &Path,
    ) -> io::Result<()> {
        if !image.try_exists()? {
            match source {
                Some(source) => copy(source, image)?,
                None => self.make(image, size_mb.max(LEAST_MB))?,
            }
        }
        open(image, place)
    }

    /// # Errors
    /// While somebody else works on the home.
    pub(super) fn alone_with(&self, home: HomeId) -> io::Result<Alone> {
        let is_first = self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(home);
        if is_first {
            Ok(Alone { home, busy: Arc::clone(&self.busy) })
        } else {
            Err(io::Error::new(io::ErrorKind::ResourceBusy, "the home is still being made"))
        }
    }

    /// Whole or not at all: what a crash left half made is made anew.
    fn make(&self, image: &Path, size_mb: i64) -> io::Result<()> {
        let unfinished = image.with_extension("new");
        finish(&unfinished, image, self.fill(&unfinished, size_mb))
    }

    fn fill(&self, path: &Path, size_mb: i64) -> io::Result<()> {
        let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let bytes = u64::try_from(size_mb).unwrap_or(0) << 20;
        fallocate(&file, FallocateFlags::empty(), 0, bytes)?;
        let (user, group) = self.user;
        // Without a reserve for root, who writes nothing there, and without giving back to the disk what was just taken from it.
        let extended = format!("root_owner={user}:{group},nodiscard");
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0", "-E", &extended]).arg(path))
    }

    /// Unmounts a home; what was written is on the disk then.
    ///
    /// # Errors
    /// When somebody still uses it.
    pub(super) fn release(&self, home: HomeId) -> io::Result<()> {
        close(&self.place(home))
    }

    /// Removes a home and everything in it; nothing to remove is a success.
    ///
    /// # Errors
    /// When the disk refuses, or it is mounted.
    pub(super) fn remove(&self, home: HomeId) -> io::Result<()> {
        if is_mounted(&self.place(home))? {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "it is in use"));
        }
        for path in [self.image(home), self.folder.join(format!("{home}.new"))] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn image(&self, home: HomeId) -> PathBuf {
        self.folder.join(format!("{home}.img"))
    }

    fn place(&self, home: HomeId) -> PathBuf {
        self.folder.join(home.to_string())
    }

    /// Where a session has a home whose file lies elsewhere.
    pub(super) fn place_of(&self, session: SessionId) -> PathBuf {
        self.folder.join("shared").join(session.to_string())
    }
}

/// Mounts a home's file, once.
fn open(image: &Path, place: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(place)?;
    if is_mounted(place)? {
        return Ok(());
    }
    run(Command::new("mount").args(["-t", "ext4", "-o", "loop,nosuid,nodev"]).arg(image).arg(place))
}

/// Unmounts whatever is mounted at a place.
///
/// # Errors
/// When somebody still uses it.
pub(super) fn close(place: &Path) -> io::Result<()> {
    while is_mounted(place)? {
        unmount(place, UnmountFlags::NOFOLLOW)?;
    }
    match fs::remove_dir(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn copy(source: &Path, image: &Path) -> io::Result<()> {
    let unfinished = image.with_extension("new");
    finish(&unfinished, image, fs::copy(source, &unfinished).and_then(|_| put_in_order(&unfinished)))
}

/// Gives a file its name, if it became what it was to be.
fn finish(unfinished: &Path, image: &Path, made: io::Result<()>) -> io::Result<()> {
    let finished = made.and_then(|()| fs::rename(unfinished, image));
    if finished.is_err() {
        // The room that it took is needed more than the rest of it.
        let _ = fs::remove_file(unfinished);
    }
    finished
}

/// Repairs a file system of which nobody took leave. Up to 2 its checker says that all is well now.
fn put_in_order(path: &Path) -> io::Result<()> {
    let output = Command::new("e2fsck").args(["-f", "-y"]).arg(path).output()?;
    match output.status.code() {
        Some(0..=2) => Ok(()),
        Some(_) | None => {
            let said = String::from_utf8_lossy(&output.stdout);
            Err(io::Error::other(format!("e2fsck: {}", said.lines().last().unwrap_or_default())))
        }
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{}: {}", command.get_program().display(), said.trim())))
}
