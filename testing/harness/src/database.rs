//! A database for each test, cloned from a migrated template on one PostgreSQL that all test processes share.
//!
//! The first process that needs it starts the server and leaves it running; the others find it by its socket. `make test`
//! stops it at the end; one left by a test run by hand serves the next. Where it lies is `MERIDIAN_TEST_DATA`, or a directory
//! of this user and this checkout in the system's temporary directory (which the unprivileged user of PostgreSQL always
//! reaches, wherever the checkout is).

use std::{
    env,
    fs::{self, File, OpenOptions},
    future::Future,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use meridian_embedded::{Durability, EmbeddedPostgres, Settings};
use meridian_runtime::{Tasks, random_token};
use rustix::fs::{FlockOperation, flock};
use tokio_postgres::{Client, Config, NoTls};

use crate::wait_for;

/// Making the server may wait for another process that is making it.
const START_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(10);
const ROLE: &str = "meridian";

/// A migrated database of this test alone. It is dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    server: Server,
}

impl TestDatabase {
    /// A clone of the template that `migrate` made; it is called at most once for each text of the migrations, on an empty database that
    /// belongs to Meridian's role.
    ///
    /// # Errors
    /// When there is no PostgreSQL, or the migrations fail.
    pub async fn new<F, Done>(migrations: &str, migrate: F) -> Result<Self>
    where
        F: FnOnce(Config) -> Done,
        Done: Future<Output = Result<()>>,
    {
        let server = Server::ready().await.context("the PostgreSQL that tests share")?;
        let template = template_of(migrations);
        server.ensure_template(&template, migrate).await.context("the migrated template database")?;
        // The pid tells later which databases a killed test left.
        let name = format!("test_{}_{}", std::process::id(), &random_token()[..12]);
        server.execute(&format!("CREATE DATABASE {name} OWNER {ROLE} TEMPLATE {template}")).await?;
        Ok(Self { name, server })
    }

    /// An empty database.
    ///
    /// # Errors
    /// When there is no PostgreSQL.
    pub async fn empty() -> Result<Self> {
        Self::new("empty", async |_| Ok(())).await
    }

    /// How Meridian connects to it.
    #[must_use]
    pub fn config(&self) -> Config {
        self.server.config(ROLE, &self.name)
    }

    /// The same as the superuser, for what a test does behind Meridian's back.
    #[must_use]
    pub fn superuser_config(&self) -> Config {
        self.server.config("postgres", &self.name)
    }

    /// As for `--database-url`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgresql://{ROLE}@{}:5432/{}", percent(&self.server.socket), self.name)
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The name of the template for these migrations, by their content.
fn template_of(migrations: &str) -> String {
    let hash = digest(&SHA256, migrations.as_bytes());
    hash.as_ref().iter().take(16).fold("template_".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), std::mem::take(&mut self.name));
        // A thread of its own, since the test's runtime may be shutting down and cannot be blocked.
        let cleaned = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let dropping = async {
                tokio::time::timeout(
                    STOP_LIMIT,
                    server.execute(&format!("DROP DATABASE {name} WITH (FORCE)")),
                )
                .await?
            };
            runtime.block_on(dropping)
        });
        // A database that stays is removed with the server; the test's own result is what counts.
        let _: Option<Result<()>> = cleaned.join().ok();
    }
}

/// The path as the host of a URL.
pub(crate) fn percent(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes().iter();
    bytes
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(*byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// The shared server, known by its socket.
#[derive(Clone, Debug)]
struct Server {
    socket: PathBuf,
}

impl Server {
    async fn ready() -> Result<Self> {
        let directory = directory()?;
        let note = directory.join("socket");
        if let Some(server) = Self::noted(&note).await {
            return Ok(server);
        }
        let _lock = lock(&directory.join("harness.lock")).await?;
        // Another process may have made it while this one waited.
        if let Some(server) = Self::noted(&note).await {
            return Ok(server);
        }
        let tasks = Tasks::new();
        let settings = Settings { durability: Durability::None, ..Settings::new(&directory) };
        let started = EmbeddedPostgres::start_with(settings, &tasks).await?;
        let server = Self { socket: started.socket_directory().to_owned() };
        // Dropped and not stopped: it goes on after this process, for the next test.
        drop(started);
        ensure!(tasks.stop(STOP_LIMIT).await, "the task that keeps the server goes on");
        server.remove_left().await?;
        fs::write(&note, server.socket.as_os_str().as_encoded_bytes())?;
        Ok(server)
    }

    /// The server that another process noted, if it answers.
    async fn noted(note: &Path) -> Option<Self> {
        let server = Self { socket: PathBuf::from(fs::read_to_string(note).ok()?) };
        server.execute("SELECT 1").await.ok().map(|()| server)
    }

    fn config(&self, role: &str, database: &str) -> Config {
        let mut config = Config::new();
        config.host_path(&self.socket).port(5432).user(role).dbname(database);
        config.connect_timeout(Duration::from_secs(10));
        config
    }

    async fn ensure_template<F, Done>(&self, template: &str, migrate: F) -> Result<()>
    where
        F: FnOnce(Config) -> Done,
        Done: Future<Output = Result<()>>,
    {
        if self.has_template(template).await? {
            return Ok(());
        }
        let _lock = lock(&directory()?.join(format!("{template}.lock"))).await?;
        if self.has_template(template).await? {
            return Ok(());
        }
        // One without the mark is what an interrupted migration left.
        self.execute(&format!("DROP DATABASE IF EXISTS {template} WITH (FORCE)")).await?;
        self.execute(&format!("CREATE DATABASE {template} OWNER {ROLE}")).await?;
        migrate(self.config(ROLE, template)).await?;
        // A database can be cloned only while no one is connected to it.
        self.execute(&format!("ALTER DATABASE {template} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false"))
            .await?;
        let end = format!(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{template}'"
        );
        self.execute(&end).await
    }

    async fn has_template(&self, template: &str) -> Result<bool> {
        let query = "SELECT FROM pg_database WHERE datname = $1 AND datistemplate";
        self.with_client(async |client| Ok(client.query_opt(query, &[&template]).await?.is_some())).await
    }

    /// Databases of test processes that are gone.
    async fn remove_left(&self) -> Result<()> {
        let query = "SELECT datname FROM pg_database WHERE datname ~ '^test_[0-9]+_'";
        let names = self.with_client(async |client| Ok(client.query(query, &[]).await?)).await?;
        for name in names.iter().map(|row| row.get::<_, &str>(0)) {
            let alive = name.split('_').nth(1).is_some_and(|pid| Path::new("/proc").join(pid).exists());
            if !alive {
                self.execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
            }
        }
        Ok(())
    }

    async fn execute(&self, statements: &str) -> Result<()> {
        self.with_client(async |client| Ok(client.batch_execute(statements).await?)).await
    }

    /// One short connection; it is driven here and so needs no task.
    async fn with_client<T>(&self, work: impl AsyncFnOnce(&Client) -> Result<T>) -> Result<T> {
        let (client, connection) = self.config("postgres", "postgres").connect(NoTls).await?;
        tokio::select! {
            ended = connection => Err(ended.err().map_or_else(|| anyhow::anyhow!("PostgreSQL closed the connection"), Into::into)),
            done = work(&client) => done,
        }
    }
}

/// Where the server and its locks lie: ours alone, since what lies there is trusted.
fn directory() -> Result<PathBuf> {
    let directory =
        env::var_os("MERIDIAN_TEST_DATA").map_or_else(default_directory, |given| Ok(PathBuf::from(given)))?;
    if let Err(error) = fs::DirBuilder::new().mode(0o700).create(&directory) {
        ensure!(error.kind() == std::io::ErrorKind::AlreadyExists, "{}: {error}", directory.display());
    }
    let meta = fs::symlink_metadata(&directory)?;
    let ours = meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw();
    ensure!(ours, "{} is not a directory of this user", directory.display());
    Ok(directory)
}

fn default_directory() -> Result<PathBuf> {
    let checkout = fs::metadata(env!("CARGO_MANIFEST_DIR"))?;
    let user = rustix::process::geteuid().as_raw();
    Ok(env::temp_dir().join(format!("meridian-tests-{user}-{:x}-{:x}", checkout.dev(), checkout.ino())))
}

/// Held until dropped, or until this process ends.
async fn lock(path: &Path) -> Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let take = async || flock(&file, FlockOperation::NonBlockingLockExclusive);
    wait_for("another test process that makes the database", START_LIMIT, take).await?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn words(config: &Config) -> Result<Vec<String>> {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::select! {
            _ = connection => anyhow::bail!("closed"),
            rows = client.query("SELECT word FROM words", &[]) => Ok(rows?.iter().map(|row| row.get(0)).collect()),
        }
    }

    async fn run(config: &Config, statements: &str) -> Result<()> {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::select! {
            _ = connection => anyhow::bail!("closed"),
            done = client.batch_execute(statements) => Ok(done?),
        }
    }

    #[tokio::test]
    async fn each_test_has_its_own_clone_of_what_was_migrated_once() {
        let key = random_token()[..12].to_owned();
        let migrate = async |config: Config| {
            run(&config, "CREATE TABLE words (word text); INSERT INTO words VALUES ('first')").await
        };
        let one = TestDatabase::new(&key, migrate).await.unwrap();
        let two = TestDatabase::new(&key, async |_| anyhow::bail!("it is migrated already")).await.unwrap();
        run(&one.config(), "INSERT INTO words VALUES ('second')").await.unwrap();
        assert_eq!(words(&one.config()).await.unwrap(), ["first", "second"]);
        assert_eq!(words(&two.url().parse().unwrap()).await.unwrap(), ["first"]);
        let (gone, server) = (one.config(), one.server.clone());
        drop((one, two));
        assert!(gone.connect(NoTls).await.is_err(), "a dropped value leaves no database");
        let template = template_of(&key);
        server.execute(&format!("ALTER DATABASE {template} IS_TEMPLATE false; ")).await.unwrap();
        server.execute(&format!("DROP DATABASE {template}")).await.unwrap();
    }

    #[tokio::test]
    async fn a_migration_that_failed_is_not_taken_for_a_template() {
        let key = random_token()[..12].to_owned();
        let error = TestDatabase::new(&key, async |_| anyhow::bail!("a bad migration")).await.unwrap_err();
        assert!(format!("{error:#}").contains("a bad migration"), "{error:#}");
        let server = Server::ready().await.unwrap();
        let template = template_of(&key);
        assert!(!server.has_template(&template).await.unwrap());
        server.execute(&format!("DROP DATABASE {template}")).await.unwrap();
    }

    #[tokio::test]
    async fn many_at_once_get_a_database_each() {
        let makes = (0..8).map(|_| tokio::time::timeout(START_LIMIT, TestDatabase::empty()));
        let mut names = Vec::new();
        let mut kept = Vec::new();
        for make in makes.collect::<Vec<_>>() {
            let database = make.await.unwrap().unwrap();
            names.push(database.name().to_owned());
            kept.push(database);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 8);
    }
}
