//! The database that Meridian starts itself: a private PostgreSQL cluster under the data directory.
//!
//! The installed PostgreSQL's programs run it, on a unix socket and no TCP port, as an unprivileged user when Meridian is
//! root, in a session of its own. One task keeps it: a server that dies is started again, and one that a killed Meridian
//! left running is adopted. It is stopped by [`EmbeddedPostgres::stop`] alone; a dropped handle leaves it running, for the
//! next start to adopt.
//!
//! It does not know what is in the database: migrations are the Web App's.

mod account;
mod cluster;
mod configuration;
mod error;
mod installation;
mod layout;
mod logs;
mod postmaster;
mod view;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use meridian_runtime::{Backoff, Tasks};
use tokio::sync::oneshot;

use crate::{
    cluster::Cluster,
    configuration::{ROLE, SUPERUSER},
    layout::{Layout, Lock},
    postmaster::Postmaster,
};
pub use crate::{
    error::EmbeddedError,
    installation::{Places, Version},
};

/// How often old log files are looked for.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// What a power cut may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was committed.
    #[default]
    Full,
    /// Everything: for tests, where it saves most of the time.
    None,
}

/// How to run the embedded PostgreSQL; [`Settings::new`] has what Meridian uses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Meridian's data directory; made when missing.
    pub data_dir: PathBuf,
    /// Where PostgreSQL's programs are looked for.
    pub places: Places,
    pub durability: Durability,
    /// Where a short directory for the socket may be made if the data directory's path is too long; the first that can be written.
    pub runtime_dirs: Vec<PathBuf>,
    /// A data directory that PostgreSQL's user cannot reach is shown to it in a mount namespace; else it is an error.
    pub mount_view: bool,
}

impl Settings {
    #[must_use]
    pub fn new(data_dir: &Path) -> Self {
        let mut runtime_dirs: Vec<_> =
            std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).into_iter().collect();
        if rustix::process::geteuid().is_root() {
            // Root's own may be private to root, and PostgreSQL's user must reach the socket.
            runtime_dirs = vec!["/run".into()];
        }
        Self {
            data_dir: data_dir.to_owned(),
            places: Places::default(),
            durability: Durability::Full,
            runtime_dirs,
            mount_view: true,
        }
    }
}

/// A running embedded PostgreSQL.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    layout: Layout,
    stop: oneshot::Sender<Stopped>,
}

type Stopped = oneshot::Sender<Result<(), EmbeddedError>>;

impl EmbeddedPostgres {
    /// Starts or adopts the database under a data directory; returns when it answers.
    ///
    /// # Errors
    /// Each says what to do: see [`EmbeddedError`].
    pub async fn start(data_dir: &Path, tasks: &Tasks) -> Result<Self, EmbeddedError> {
        Self::start_with(Settings::new(data_dir), tasks).await
    }

    /// As [`EmbeddedPostgres::start`], with every setting.
    ///
    /// # Errors
    /// Each says what to do: see [`EmbeddedError`].
    pub async fn start_with(settings: Settings, tasks: &Tasks) -> Result<Self, EmbeddedError> {
        let (layout, account) = Layout::prepare(&settings)?;
        let Settings { places, durability, .. } = settings;
        let lock = Lock::take(&layout)?;
        let cluster = Cluster { layout: layout.clone(), account, places, durability, tasks: tasks.clone() };
        let postmaster = cluster.bring_up().await?;
        let (stop, orders) = oneshot::channel();
        tasks.spawn("embedded PostgreSQL", keep(cluster, lock, postmaster, orders));
        Ok(Self { layout, stop })
    }

    /// How to connect as Meridian's role to Meridian's database.
    #[must_use]
    pub fn config(&self) -> tokio_postgres::Config {
        configuration::connection(&self.layout, ROLE, ROLE)
    }

    /// How to connect as the superuser, for backups and tests.
    #[must_use]
    pub fn superuser_config(&self) -> tokio_postgres::Config {
        configuration::connection(&self.layout, SUPERUSER, "postgres")
    }

    /// The same as text, as for `--database-url`. There is no secret in it.
    #[must_use]
    pub fn url(&self) -> String {
        configuration::url(&self.layout.socket, ROLE, ROLE)
    }

    /// The directory of the socket, as for `psql -h`.
    #[must_use]
    pub fn socket_directory(&self) -> &Path {
        &self.layout.socket
    }

    /// Stops the server and returns when it has ended. Whoever uses the database should have stopped before.
    ///
    /// # Errors
    /// When it does not end even by force.
    pub async fn stop(self) -> Result<(), EmbeddedError> {
        let (reply, stopped) = oneshot::channel();
        self.stop.send(reply).map_err(|_| EmbeddedError::KeeperGone)?;
        stopped.await.map_err(|_| EmbeddedError::KeeperGone)?
    }
}

/// Owns the server until it is told to stop it. The tasks' own stop is not such an order: others still need the database then.
async fn keep(
    cluster: Cluster,
    lock: Lock,
    mut postmaster: Postmaster,
    mut orders: oneshot::Receiver<Stopped>,
) {
    let mut prune = tokio::time::interval(PRUNE_EVERY);
    loop {
        tokio::select! {
            order = &mut orders => {
                if let Ok(reply) = order {
                    let stopped = postmaster.stop().await;
                    if stopped.is_ok() {
                        cluster.layout.remove_short_directory();
                    }
                    drop(lock);
                    // Who asked may have gone; the server has stopped all the same.
                    let _ = reply.send(stopped);
                }
                return;
            }
            status = postmaster.ended() => {
                tracing::error!(?status, "PostgreSQL ended by itself; it is started again");
                match restart(&cluster, &mut orders).await {
                    Some(restarted) => postmaster = restarted,
                    None => return,
                }
            }
            _ = prune.tick() => logs::prune(&cluster.layout.logs),
        }
    }
}

/// Tries until it runs again; none when told to stop meanwhile.
async fn restart(cluster: &Cluster, orders: &mut oneshot::Receiver<Stopped>) -> Option<Postmaster> {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    loop {
        match cluster.bring_up().await {
            Ok(postmaster) => return Some(postmaster),
            Err(error) => {
                tracing::error!(error = %error, "PostgreSQL could not be started again; the next try follows")
            }
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next_wait()) => {}
            order = &mut *orders => {
                if let Ok(reply) = order {
                    let _ = reply.send(Ok(()));
                }
                return None;
            }
        }
    }
}
