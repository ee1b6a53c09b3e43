//! Where everything of the database lies below the data directory.
//!
//! ```text
//! {data}/postgres/            ours: the user of PostgreSQL passes through and changes nothing
//!   lock                      held while a Meridian uses the database
//!   *.conf                    written at every start
//!   cluster/                  PostgreSQL's own (0700)
//!   socket/                   its socket (0700), unless the path is too long for one
//! {data}/logs/postgres/       its log (0700), rotated and bounded
//! {data}/logs/postgres-start.log
//!
//! /run/meridian-{device}-{inode}/   only where one of these holds:
//!   socket/                         the path is too long for a socket
//!   home/ logs/                     PostgreSQL's user cannot reach the data (see the view)
//! ```
//!
//! As root, nothing is ever written into a directory that the unprivileged user owns: a link placed there cannot turn a
//! write of ours against another file.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::{
    EmbeddedError, Settings,
    account::{Account, canonical, make},
    view::View,
};

/// The port is only part of the socket's name: nothing listens on TCP.
pub(crate) const PORT: u16 = 5432;

/// `sun_path` holds 108 bytes with the closing zero.
const SOCKET_PATH_LIMIT: usize = 107;

#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) data: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) cluster: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) start_log: PathBuf,
    /// Where PostgreSQL itself sees `home` and `logs`.
    pub(crate) view: View,
}

impl Layout {
    /// Makes the directories. The cluster's own is made by [`crate::cluster`], when it is complete.
    pub(crate) fn prepare(settings: &Settings) -> Result<(Self, Account), EmbeddedError> {
        make(&settings.data_dir, 0o700)?;
        let data = canonical(&settings.data_dir)?;
        let home = data.join("postgres");
        let account = Account::find(&home.join("cluster"))?;
        account.passage(&data)?;
        account.passage(&home)?;
        account.passage(&data.join("logs"))?;
        let logs = data.join("logs/postgres");
        account.own(&logs)?;
        let (view, socket) = match account.check_reach(&home) {
            Ok(()) => (View::direct(&home, &logs), socket_directory(&data, &home, &account, settings)?),
            Err(unreachable) => {
                let elsewhere = if settings.mount_view {
                    Some(short_directory(&data, &account, settings)?)
                } else {
                    None
                };
                let view = elsewhere
                    .as_ref()
                    .map(|at| View::bound(&home, &logs, at, &account))
                    .transpose()?
                    .flatten();
                let (Some(view), Some(at)) = (view, elsewhere) else { return Err(unreachable) };
                tracing::info!(reason = %unreachable, "PostgreSQL sees its directories in a mount namespace of its own");
                (view, own_socket_directory(at, &account)?)
            }
        };
        let start_log = data.join("logs/postgres-start.log");
        Ok((Self { cluster: home.join("cluster"), data, home, socket, logs, start_log, view }, account))
    }

    /// Removes what lies outside the data directory, after the server has stopped. What is not empty stays.
    pub(crate) fn remove_short_directory(&self) {
        let Some(short) = self.socket.parent().filter(|parent| *parent != self.home) else { return };
        for directory in [&self.socket, &short.join("home"), &short.join("logs"), &short.to_owned()] {
            if let Err(error) = fs::remove_dir(directory)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::debug!(directory = %directory.display(), error = %error, "a directory for the socket stays");
            }
        }
    }

    /// Writes a file of ours that PostgreSQL's user may read; true when its content is new.
    pub(crate) fn write(&self, name: &str, text: &str, account: &Account) -> Result<bool, EmbeddedError> {
        let path = self.home.join(name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return Ok(false);
        }
        let new = self.home.join(format!("{name}.new"));
        let write = || -> io::Result<()> {
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            if account.switched {
                std::os::unix::fs::fchown(&file, None, Some(account.gid))?;
                file.set_permissions(fs::Permissions::from_mode(0o640))?;
            }
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(|error| EmbeddedError::file("write", &path, error))?;
        Ok(true)
    }
}

/// Beside the cluster where the path is short enough and plain, else in a short directory.
fn socket_directory(
    data: &Path,
    home: &Path,
    account: &Account,
    settings: &Settings,
) -> Result<PathBuf, EmbeddedError> {
    let beside = home.join("socket");
    if fits(&beside) {
        account.own(&beside)?;
        return Ok(beside);
    }
    own_socket_directory(short_directory(data, account, settings)?, account)
}

fn own_socket_directory(parent: PathBuf, account: &Account) -> Result<PathBuf, EmbeddedError> {
    let directory = parent.join("socket");
    account.own(&directory)?;
    account.check_reach(&directory)?;
    Ok(directory)
}

/// A short directory of ours for this data directory.
fn short_directory(data: &Path, account: &Account, settings: &Settings) -> Result<PathBuf, EmbeddedError> {
    let meta = fs::metadata(data).map_err(|error| EmbeddedError::file("look at", data, error))?;
    // The data directory's device and inode are short, its own, and the same at the next start, which must find the socket again.
    let name = format!("meridian-{:x}-{:x}", meta.dev(), meta.ino());
    let usable = |parent: &&PathBuf| {
        parent.is_dir() && rustix::fs::access(parent.as_path(), rustix::fs::Access::WRITE_OK).is_ok()
    };
    let parent = settings.runtime_dirs.iter().find(usable).map_or(Path::new("/tmp"), PathBuf::as_path);
    let directory = parent.join(name);
    account.passage(&directory)?;
    check_private(&directory)?;
    Ok(directory)
}

/// In a shared parent, anyone may have made the directory before us.
fn check_private(directory: &Path) -> Result<(), EmbeddedError> {
    let found =
        fs::symlink_metadata(directory).map_err(|error| EmbeddedError::file("look at", directory, error))?;
    let problem = if !found.is_dir() {
        "is no directory"
    } else if found.uid() != rustix::process::geteuid().as_raw() {
        "belongs to another user"
    } else if found.mode() & 0o067 != 0 {
        "is open to other users"
    } else {
        return Ok(());
    };
    Err(EmbeddedError::SocketDirectory { directory: directory.to_owned(), problem: problem.to_owned() })
}

/// PostgreSQL takes a comma for a list of directories and a quote for a quoted one.
fn fits(directory: &Path) -> bool {
    let bytes = directory.as_os_str().as_bytes();
    let length = bytes.len() + format!("/.s.PGSQL.{PORT}").len();
    length <= SOCKET_PATH_LIMIT && !bytes.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n'))
}

/// `name=value` for PostgreSQL's `-c`, whatever bytes the path has.
pub(crate) fn setting(name: &str, value: &Path) -> std::ffi::OsString {
    let mut text = OsStr::new(name).to_owned();
    text.push("=");
    text.push(value);
    text
}

/// Held while a Meridian uses the database; the kernel releases it when that process ends in any way.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) fn take(layout: &Layout) -> Result<Self, EmbeddedError> {
        let path = layout.home.join("lock");
        let open = || {
            let flags = OFlags::NOFOLLOW.bits().cast_signed();
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(flags)
                .open(&path)
        };
        let mut file = open().map_err(|error| EmbeddedError::file("open", &path, error))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            // The holder may just be writing its pid; then the error goes without it.
            let _ = file.read_to_string(&mut holder);
            let pid = holder.trim();
            let holder = if pid.is_empty() { "a process".to_owned() } else { format!("pid {pid}") };
            return Err(EmbeddedError::InUse { data_dir: layout.data.clone(), holder });
        }
        let write = |file: &mut File| -> io::Result<()> {
            file.set_len(0)?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(|error| EmbeddedError::file("write", &path, error))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_path_fits_up_to_the_last_byte() {
        let name_length = "/.s.PGSQL.5432".len();
        let longest = PathBuf::from(format!("/{}", "a".repeat(SOCKET_PATH_LIMIT - name_length - 1)));
        assert!(fits(&longest));
        assert!(!fits(
            &longest.with_file_name(format!("{}a", longest.file_name().unwrap().to_str().unwrap()))
        ));
        assert!(!fits(Path::new("/a,b")));
    }
}
