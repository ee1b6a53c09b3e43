//! One cluster from nothing to answering: made when there is none, adopted when it runs, started when it does not.

use std::{fs, io, process::Stdio, time::Duration};

use meridian_runtime::Tasks;
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

use crate::{
    Durability, EmbeddedError, Places,
    account::Account,
    configuration::{self, ROLE, SUPERUSER},
    installation::{Installation, Version},
    layout::Layout,
    logs,
    postmaster::Postmaster,
};

/// A cluster that is still being made.
const UNFINISHED: &str = "cluster.new";
/// How long a killed server's children may take to notice.
const ORPHANS_LIMIT: Duration = Duration::from_secs(10);
const ORPHANS_PAUSE: Duration = Duration::from_millis(200);

pub(crate) struct Cluster {
    pub(crate) layout: Layout,
    pub(crate) account: Account,
    pub(crate) places: Places,
    pub(crate) durability: Durability,
    pub(crate) tasks: Tasks,
}

impl Cluster {
    /// Returns with the server answering and Meridian's role and database in it.
    pub(crate) async fn bring_up(&self) -> Result<Postmaster, EmbeddedError> {
        let changed = configuration::write(&self.layout, &self.account, self.durability)?;
        if let Some(adopted) = self.adopt(changed).await? {
            return Ok(adopted);
        }
        let version = Version::of_cluster(&self.layout.cluster)?;
        let installation = Installation::find(&self.places, version, &self.layout.data).await?;
        if version.is_none() {
            self.make(&installation).await?;
        }
        let postmaster = self.start_after_others(&installation).await?;
        match self.ensure_database().await {
            Ok(()) => {
                tracing::info!(pid = postmaster.pid(), version = installation.version.0, "PostgreSQL runs");
                Ok(postmaster)
            }
            Err(error) => {
                // The first error counts; a server that then does not stop is adopted at the next start.
                let _ = postmaster.stop().await;
                Err(error)
            }
        }
    }

    /// The children of a server that was killed outlive it for a moment and hold its shared memory; PostgreSQL rightly refuses to start
    /// beside them.
    async fn start_after_others(&self, installation: &Installation) -> Result<Postmaster, EmbeddedError> {
        let until = Instant::now() + ORPHANS_LIMIT;
        loop {
            match Postmaster::start(installation, &self.layout, &self.account).await {
                Err(EmbeddedError::DidNotStart { log, .. })
                    if log.contains("shared memory block") && Instant::now() < until =>
                {
                    tokio::time::sleep(ORPHANS_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// A server left by a Meridian that was killed goes on if it runs as this one would start it; else it is stopped.
    async fn adopt(&self, settings_changed: bool) -> Result<Option<Postmaster>, EmbeddedError> {
        let Some((left, file)) = Postmaster::running(&self.layout.cluster)? else { return Ok(None) };
        let pid = left.pid();
        if settings_changed || (file.ready && file.socket != self.layout.socket) {
            tracing::info!(pid, "PostgreSQL still runs, with other settings; it is started anew");
            left.stop().await?;
            return Ok(None);
        }
        let ready = match left.until_ready(&self.layout).await {
            Ok(ready) => ready,
            // It was dying already, killed together with its Meridian perhaps: there is nothing to adopt.
            Err(EmbeddedError::DidNotStart { .. }) => {
                tracing::info!(pid, "the PostgreSQL that still ran has ended; another is started");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        match self.ensure_database().await {
            Ok(()) => {
                tracing::info!(pid, "PostgreSQL still runs; Meridian goes on with it");
                Ok(Some(ready))
            }
            Err(error) => {
                tracing::warn!(pid, error = %error, "PostgreSQL still runs but does not answer; it is started anew");
                ready.stop().await?;
                Ok(None)
            }
        }
    }

    /// Made beside its place and then moved: one that was cut short is never taken for a cluster.
    async fn make(&self, installation: &Installation) -> Result<(), EmbeddedError> {
        let unfinished = self.layout.home.join(UNFINISHED);
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(EmbeddedError::file("remove", &unfinished, error));
            }
            _ => {}
        }
        self.account.own(&unfinished)?;
        tracing::info!(version = installation.version.0, "making the database");
        let program = installation.program("initdb");
        let mut command = self.layout.view.command(&self.account, &program);
        command.arg("-D").arg(self.layout.view.home.join(UNFINISHED)).args([
            "-U",
            SUPERUSER,
            "--auth-local=peer",
            "--auth-host=reject",
        ]);
        // Sorted by bytes, which no update of the system's locales can change under an index; letters are Unicode's.
        command.args([
            "--encoding=UTF8",
            "--locale=C",
            "--lc-ctype=C.UTF-8",
            "--data-checksums",
            "--no-instructions",
        ]);
        match self.durability {
            Durability::Full => {}
            Durability::None => {
                command.arg("--no-sync");
            }
        }
        command.env_clear().current_dir("/").stdin(Stdio::null());
        let failed = |source| EmbeddedError::Program { program: program.display().to_string(), source };
        let output =
            tokio::process::Command::from(command).kill_on_drop(true).output().await.map_err(failed)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            if logs::disk_is_full(&said, &self.layout) {
                return Err(EmbeddedError::DiskFull { directory: self.layout.data.clone() });
            }
            let status = output.status.to_string();
            return Err(EmbeddedError::Failed { program: "initdb".to_owned(), status, output: said });
        }
        fs::rename(&unfinished, &self.layout.cluster)
            .map_err(|error| EmbeddedError::file("move the new database to", &self.layout.cluster, error))
    }

    /// Makes Meridian's role and database where they are missing.
    async fn ensure_database(&self) -> Result<(), EmbeddedError> {
        let client = self.connect_as_superuser().await?;
        if client.query_opt("SELECT FROM pg_roles WHERE rolname = $1", &[&ROLE]).await?.is_none() {
            client.batch_execute(&format!("CREATE ROLE {ROLE} LOGIN")).await?;
        }
        if client.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&ROLE]).await?.is_none() {
            client.batch_execute(&format!("CREATE DATABASE {ROLE} OWNER {ROLE}")).await?;
        }
        Ok(())
    }

    async fn connect_as_superuser(&self) -> Result<Client, EmbeddedError> {
        let config = configuration::connection(&self.layout, SUPERUSER, "postgres");
        let (client, connection) = config.connect(NoTls).await?;
        self.tasks.spawn("embedded PostgreSQL set-up", async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "the set-up connection broke");
            }
        });
        Ok(client)
    }
}
