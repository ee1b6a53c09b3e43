//! What can go wrong, each in words that say what to do next.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::installation::{Version, install_hint};

/// Why the embedded PostgreSQL does not run. The texts are for the person who started Meridian.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    #[error(
        "no PostgreSQL {} or newer is installed here{}; {}, or give --database-url for another one",
        Version::OLDEST,
        old_ones(.found),
        install_hint()
    )]
    NotInstalled {
        /// Installations that are too old, with their versions.
        found: Vec<(PathBuf, Version)>,
    },

    #[error(
        "the database under {data_dir} was made by PostgreSQL {cluster}, but installed here {}; \
         install PostgreSQL {cluster}, or move the database to the installed version with pg_upgrade \
         (docs/operators/database.md shows how)",
        listed(.installed)
    )]
    OtherVersion { data_dir: PathBuf, cluster: Version, installed: Vec<Version> },

    #[error(
        "PostgreSQL refuses to run as root and this machine has neither a user postgres nor a user nobody; \
         add one (useradd --system postgres), or start Meridian as an ordinary user"
    )]
    NoAccount,

    #[error(
        "{path} belongs to {owner}, but Meridian runs as {runs_as}; start it as {owner} or as root, \
         or choose another data directory"
    )]
    NotOurs { path: PathBuf, owner: String, runs_as: String },

    #[error(
        "PostgreSQL runs as the user {user}, who may not enter {directory}; \
         allow passing through with `chmod o+x {directory}`, or choose a data directory elsewhere, \
         such as /var/lib/meridian"
    )]
    Unreachable { directory: PathBuf, user: String },

    #[error(
        "{directory}, needed for the database's socket because the data directory's path is too long for one, \
         {problem}; remove it and start again"
    )]
    SocketDirectory { directory: PathBuf, problem: String },

    #[error(
        "another Meridian ({holder}) uses the database under {data_dir}; stop it, or choose another data directory"
    )]
    InUse { data_dir: PathBuf, holder: String },

    #[error("the disk that holds {directory} is full; free some space and start again")]
    DiskFull { directory: PathBuf },

    #[error("could not {what} {path}")]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },

    #[error("could not run {program}; is it installed?")]
    Program {
        program: String,
        #[source]
        source: io::Error,
    },

    #[error("{program} failed ({status}): {output}")]
    Failed { program: String, status: String, output: String },

    #[error("PostgreSQL did not start ({status}): {log}")]
    DidNotStart { status: String, log: String },

    #[error("PostgreSQL was not ready after {} s: {log}", .limit.as_secs())]
    NotReady { limit: Duration, log: String },

    #[error(
        "a PostgreSQL process of this database (pid {pid}) does not end; look at it with `ps -fp {pid}`, end it, and start again"
    )]
    DoesNotEnd { pid: i32 },

    #[error("the embedded PostgreSQL does not answer")]
    Database(#[from] tokio_postgres::Error),

    #[error("the task that keeps the embedded PostgreSQL is gone")]
    KeeperGone,
}

impl EmbeddedError {
    /// A failed file operation; a full disk gets its own words.
    pub(crate) fn file(what: &'static str, path: &Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::StorageFull {
            return Self::DiskFull { directory: path.to_owned() };
        }
        Self::File { what, path: path.to_owned(), source }
    }
}

fn old_ones(found: &[(PathBuf, Version)]) -> String {
    let list: Vec<_> =
        found.iter().map(|(path, version)| format!("{version} in {}", path.display())).collect();
    if list.is_empty() { String::new() } else { format!(" (found only {})", list.join(", ")) }
}

fn listed(versions: &[Version]) -> String {
    let list: Vec<_> = versions.iter().map(ToString::to_string).collect();
    match list.as_slice() {
        [] => "there is none".to_owned(),
        [one] => format!("is {one}"),
        many => format!("are {}", many.join(", ")),
    }
}
