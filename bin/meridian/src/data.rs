//! The data directory of `meridian up`, and the lock that keeps two of them apart.

use std::{
    fs,
    io::{Read, Seek, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::exit::Failure;

/// A data directory that is ours alone while this lives.
pub struct DataDirectory {
    path: PathBuf,
    _lock: fs::File,
}

impl DataDirectory {
    /// Opens or makes it: the given one, or the usual place of this user.
    pub fn open(given: Option<PathBuf>) -> Result<Self, Failure> {
        let path = match given {
            Some(path) => path,
            None => usual_place()?,
        };
        let cannot = |error: std::io::Error| {
            Failure::new(format!("cannot use the data directory {}: {error}", path.display()))
                .hint("Choose another with --data or MERIDIAN_DATA, or make this one writable")
        };
        fs::create_dir_all(&path).map_err(cannot)?;
        let path = path.canonicalize().map_err(cannot)?;
        let lock_path = path.join("meridian.lock");
        let mut lock = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(cannot)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            let _ = lock.read_to_string(&mut holder);
            let holder = if holder.trim().is_empty() { "unknown".into() } else { holder.trim().to_owned() };
            return Err(Failure::new(format!(
                "another Meridian (process {holder}) already uses the data directory {}",
                path.display()
            ))
            .hint("Stop it, or choose another directory with --data or MERIDIAN_DATA"));
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(cannot)?;
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory inside, made when missing, for us alone.
    pub fn private(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.path.join(name);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        Ok(path)
    }
}

/// `/var/lib/meridian` for root; a folder in the home directory for everybody else.
fn usual_place() -> Result<PathBuf, Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/meridian".into());
    }
    let home = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    home.map(|home| home.join("meridian"))
        .ok_or_else(|| Failure::new("no home directory is known").hint("Name a data directory with --data"))
}
