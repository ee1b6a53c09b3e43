//! The pool, and the one way a statement is run.

use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use meridian_runtime::{Backoff, Clock, Tasks};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_postgres::{
    Row, Statement,
    error::{DbError, SqlState},
    types::{Json, ToSql},
};

use super::{
    acting,
    database::{Database, TlsFault},
};

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the database cannot be reached over TLS: {}. {}", .fault.words(), .fault.hint())]
    Tls { fault: TlsFault, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the database did not answer in time")]
    Timeout,
    #[error("a text has a character that the database cannot store")]
    Text(#[source] tokio_postgres::Error),
    #[error("the database refused a statement")]
    Query(#[source] tokio_postgres::Error),
    #[error("a row is not what this release expects")]
    Shape(#[source] serde_json::Error),
    #[error(
        "the database is being migrated by somebody else, who did not finish within {wait_s} s: {holder}. \
         Wait for it, or end it with SELECT pg_terminate_backend(pid)"
    )]
    MigrationBusy { wait_s: u64, holder: String },
    #[error("a migration failed")]
    Migrate(#[source] refinery::Error),
    #[error("{0}")]
    Corrupt(String),
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.code() {
            Some(code) if *code == SqlState::QUERY_CANCELED || *code == SqlState::LOCK_NOT_AVAILABLE => {
                Self::Timeout
            }
            // U+0000, in a text or within JSON.
            Some(code)
                if *code == SqlState::CHARACTER_NOT_IN_REPERTOIRE
                    || *code == SqlState::UNTRANSLATABLE_CHARACTER =>
            {
                Self::Text(error)
            }
            // Shutting down, starting up, out of connections or disk, or nobody whom it lets in: not the statement's fault.
            Some(code)
                if ["57P", "53", "08", "28", "3D"].iter().any(|class| code.code().starts_with(class)) =>
            {
                Self::Unavailable(Box::new(error))
            }
            Some(_) => Self::Query(error),
            None => match TlsFault::of(&error) {
                Some(fault) => Self::Tls { fault, source: Box::new(error) },
                None => Self::Unavailable(Box::new(error)),
            },
        }
    }
}

impl From<PoolError> for StoreError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Timeout(_) => Self::Timeout,
            // A connection could not be made, whatever the database says about it.
            PoolError::Backend(error) => match TlsFault::of(&error) {
                Some(fault) => Self::Tls { fault, source: Box::new(error) },
                None => Self::Unavailable(Box::new(error)),
            },
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                Self::Unavailable(Box::new(error))
            }
        }
    }
}

impl StoreError {
    /// Whether a constraint named so was violated.
    #[must_use]
    pub fn violates(&self, constraint: &str) -> bool {
        self.of_the_database().and_then(DbError::constraint) == Some(constraint)
    }

    /// In words, how much of something there may be, where more was to be made.
    #[must_use]
    pub fn bound(&self) -> Option<&str> {
        let of_a_bound = |error: &&DbError| error.constraint().is_some_and(|name| name.ends_with("_bound"));
        self.of_the_database().filter(of_a_bound).map(DbError::message)
    }

    fn is_deadlock(&self) -> bool {
        self.of_the_database().is_some_and(|error| *error.code() == SqlState::T_R_DEADLOCK_DETECTED)
    }

    fn of_the_database(&self) -> Option<&DbError> {
        match self {
            Self::Query(error) => error.as_db_error(),
            Self::Unavailable(_)
            | Self::Tls { .. }
            | Self::Timeout
            | Self::Text(_)
            | Self::Shape(_)
            | Self::MigrationBusy { .. }
            | Self::Migrate(_)
            | Self::Corrupt(_) => None,
        }
    }
}

/// Statements of hot interactions, prepared when a connection opens.
fn hot_statements() -> Vec<&'static str> {
    use super::{logins, nodes, sessions, watches, workspaces, zones};
    [acting::HOT, logins::HOT, nodes::HOT, sessions::HOT, watches::HOT, workspaces::HOT, zones::HOT].concat()
}

/// How often a statement that PostgreSQL undid is run again, and the first pause before that. Whoever is in its way has gone on by then.
const DEADLOCK_RETRIES: usize = 2;
const DEADLOCK_PAUSE: Duration = Duration::from_millis(10);

/// How long a connection over TCP may be silent before it is asked whether it lives.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// What a statement answers: its rows, or how many it touched.
trait Answer: Sized {
    async fn ask(
        client: &Object,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Self, tokio_postgres::Error>;
}

impl Answer for Vec<Row> {
    async fn ask(
        client: &Object,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Self, tokio_postgres::Error> {
        client.query(statement, parameters).await
    }
}

impl Answer for u64 {
    async fn ask(
        client: &Object,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Self, tokio_postgres::Error> {
        client.execute(statement, parameters).await
    }
}

/// The database, as the rest of the control plane sees it. Clones share the pool.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    database: Database,
    wait: Duration,
}

impl Store {
    /// Makes the pool; connects to nothing yet.
    ///
    /// # Errors
    /// When the pool's own settings do not fit together.
    pub fn new(
        database: impl Into<Database>,
        connections: usize,
        wait: Duration,
    ) -> Result<Self, StoreError> {
        let mut database: Database = database.into();
        let limit_ms = wait.as_millis();
        let config = &mut database.config;
        config.connect_timeout(wait);
        // A host that vanished is noticed on connections that only listen, too.
        config.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE).keepalives_retries(3);
        config.tcp_user_timeout(KEEPALIVE * 3);
        config.application_name("meridian-web");
        let mut pooled = config.clone();
        pooled.options(format!("-c statement_timeout={limit_ms} -c lock_timeout={limit_ms}"));
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(pooled, database.tls.clone(), recycling);
        let pool = Pool::builder(manager)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts { wait: Some(wait), create: Some(wait), recycle: Some(wait) })
            .post_create(Hook::async_fn(|client, _| {
                Box::pin(async move {
                    for statement in hot_statements() {
                        client.prepare_cached(statement).await.map_err(HookError::Backend)?;
                    }
                    Ok(())
                })
            }))
            .build()
            .map_err(|error| StoreError::Unavailable(Box::new(error)))?;
        Ok(Self { pool, database, wait })
    }

    /// Waits for the database and brings it up to date.
    ///
    /// # Errors
    /// As [`super::migrate`], or when it cannot be reached.
    pub async fn prepare(&self, tasks: &Tasks) -> Result<(), StoreError> {
        let (mut client, connection) = self.database.connect().await?;
        let connection = tasks.spawn("migration connection", async move { drop(connection.await) });
        let outcome = super::migrate(&mut client, super::MIGRATION_WAIT).await;
        drop(client);
        let _ = connection.await;
        outcome
    }

    /// For connections outside the pool: LISTEN.
    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// Runs one prepared statement that answers one JSON document.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<T, StoreError> {
        let row = self
            .rows(statement, parameters)
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| StoreError::Corrupt("a function answered no row".into()))?;
        let Json(value) = row.try_get::<_, Json<serde_json::Value>>(0)?;
        serde_json::from_value(value).map_err(StoreError::Shape)
    }

    /// Runs one prepared statement.
    pub(crate) async fn rows(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, StoreError> {
        self.run(statement, parameters).await
    }

    /// Runs one prepared statement and says how many rows it touched.
    pub(crate) async fn execute(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, StoreError> {
        self.run(statement, parameters).await
    }

    /// Runs a statement, again where PostgreSQL undid it because it and others waited for one another. Functions lock users before nodes
    /// before sessions, so that this does not happen; where it does, nobody need hear of it.
    async fn run<T: Answer>(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + self.wait * 2;
        let mut backoff = Backoff::new(DEADLOCK_PAUSE, DEADLOCK_PAUSE * 8);
        for _ in 0..DEADLOCK_RETRIES {
            match self.run_once(statement, parameters, deadline).await {
                Err(error) if error.is_deadlock() => {
                    tracing::warn!(statement, "undone because of a deadlock, asked again");
                    sleep(backoff.next_wait()).await;
                }
                outcome => return outcome,
            }
        }
        self.run_once(statement, parameters, deadline).await
    }

    /// The server's own limits answer first; this one is for a server that does not answer at all. Its connection is given up then: whoever
    /// came next on it would wait as long, until TCP gives up.
    async fn run_once<T: Answer>(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
        deadline: Instant,
    ) -> Result<T, StoreError> {
        let client = timeout_at(deadline, self.pool.get()).await.map_err(|_| StoreError::Timeout)??;
        let answered = timeout_at(deadline, async {
            let statement = client.prepare_cached(statement).await?;
            let Some((statement_of_mark, mark)) = acting::mark() else {
                return Ok((T::ask(&client, &statement, parameters).await, Ok(())));
            };
            let marking = client.prepare_cached(statement_of_mark).await?;
            Ok::<_, tokio_postgres::Error>(
                acting::marked(&client, &marking, &mark, T::ask(&client, &statement, parameters)).await,
            )
        })
        .await;
        match answered {
            Ok(Ok((outcome, Ok(())))) => Ok(outcome?),
            Ok(Err(error)) => Err(StoreError::from(error)),
            // Nobody else may go on with a connection that perhaps still has another's marks on it.
            Ok(Ok((outcome, Err(error)))) => {
                drop(Object::take(client));
                outcome?;
                Err(error.into())
            }
            Err(_) => {
                drop(Object::take(client));
                Err(StoreError::Timeout)
            }
        }
    }

    /// Whether the database answers now; the time it says.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.rows("SELECT 1", &[]).await.map(drop)
    }

    /// The control plane's time is the database's: learns it, within half a round trip.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn learn_time(&self, clock: &Clock) -> Result<(), StoreError> {
        let rows = self.rows("SELECT now()", &[]).await?;
        let row = rows.first().ok_or_else(|| StoreError::Corrupt("no time".into()))?;
        clock.learn_control_time(row.try_get(0)?);
        Ok(())
    }
}
