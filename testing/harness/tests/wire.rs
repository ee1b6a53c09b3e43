//! The wire proxy between a real client and a real PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use meridian_harness::{TestDatabase, WireProxy, wait_for};
use meridian_runtime::Tasks;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

const LIMIT: Duration = Duration::from_secs(10);

struct Bench {
    database: TestDatabase,
    proxy: WireProxy,
    tasks: Tasks,
}

async fn bench() -> Bench {
    let tasks = Tasks::new();
    let database = TestDatabase::empty().await.unwrap();
    let proxy = WireProxy::on_unix(&database.config(), &tasks).await.unwrap();
    Bench { database, proxy, tasks }
}

impl Bench {
    async fn connect(&self, config: &Config) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = config.connect(NoTls).await?;
        self.tasks.spawn("test connection", async move {
            let _ = connection.await;
        });
        Ok(client)
    }

    async fn through_proxy(&self) -> Client {
        self.connect(&self.proxy.config()).await.unwrap()
    }

    async fn rows(&self) -> i64 {
        let direct = self.connect(&self.database.config()).await.unwrap();
        direct.query_one("SELECT count(*) FROM kept", &[]).await.unwrap().get(0)
    }
}

#[tokio::test]
async fn a_prepared_statement_costs_one_turn_around_and_preparing_it_another() {
    let bench = bench().await;
    let client = bench.through_proxy().await;
    let started = bench.proxy.counts();
    assert_eq!(
        (started.connections, started.ready),
        (1, 0),
        "the startup's own ReadyForQuery is no turn-around"
    );
    let statement = client.prepare("SELECT $1::int8 + 1").await.unwrap();
    let prepared = bench.proxy.counts();
    assert_eq!((prepared - started).ready, 1);
    assert_eq!(client.query_one(&statement, &[&1_i64]).await.unwrap().get::<_, i64>(0), 2);
    let executed = bench.proxy.counts() - prepared;
    assert_eq!((executed.ready, executed.syncs, executed.executes, executed.parses), (1, 1, 1, 0));
}

#[tokio::test]
async fn each_turn_around_is_as_late_as_the_server_is_far_however_many_messages_it_has() {
    let bench = bench().await;
    let client = bench.through_proxy().await;
    let far = Duration::from_millis(50);
    bench.proxy.delay(far);
    let started = std::time::Instant::now();
    let before = bench.proxy.counts();
    assert_eq!(client.query("SELECT generate_series(1, 1000)", &[]).await.unwrap().len(), 1000);
    let trips = u32::try_from((bench.proxy.counts() - before).ready).unwrap();
    // Only ever later, never sooner: nothing here depends on how quick this machine is.
    assert!(trips > 0 && started.elapsed() >= far * trips, "{trips} in {:?}", started.elapsed());
}

#[tokio::test]
async fn a_large_answer_passes_whole_and_counts_once() {
    let bench = bench().await;
    let client = bench.through_proxy().await;
    let before = bench.proxy.counts();
    // A row full of what would be a ReadyForQuery if bytes were searched and messages not parsed.
    let messages = client.simple_query("SELECT repeat(E'Z\\x01\\x01\\x01\\x05I', 1000000)").await.unwrap();
    let row = messages
        .iter()
        .find_map(|message| if let SimpleQueryMessage::Row(row) = message { row.get(0) } else { None });
    assert_eq!(row.unwrap().len(), 6_000_000);
    let counts = bench.proxy.counts() - before;
    assert_eq!((counts.queries, counts.ready), (1, 1));
}

#[tokio::test]
async fn a_cut_ends_open_connections_and_takes_new_ones() {
    let bench = bench().await;
    let client = bench.through_proxy().await;
    bench.proxy.cut();
    let failed = timeout(LIMIT, client.simple_query("SELECT 1")).await.unwrap();
    assert!(failed.is_err());
    bench.through_proxy().await.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn what_is_refused_is_taken_again_at_the_same_address() {
    let bench = bench().await;
    let tcp = WireProxy::on_tcp(&bench.database.config(), &bench.tasks).await.unwrap();
    for proxy in [&bench.proxy, &tcp] {
        proxy.refuse().await.unwrap();
        assert!(bench.connect(&proxy.config()).await.is_err());
        proxy.accept().await.unwrap();
        bench.connect(&proxy.url().parse().unwrap()).await.unwrap().simple_query("SELECT 1").await.unwrap();
    }
}

#[tokio::test]
async fn a_stall_holds_the_answer_until_it_is_resumed() {
    let bench = bench().await;
    let client = bench.through_proxy().await;
    bench.proxy.stall();
    let mut query = std::pin::pin!(client.simple_query("SELECT 1"));
    assert!(timeout(Duration::from_millis(200), &mut query).await.is_err());
    bench.proxy.resume();
    timeout(LIMIT, query).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_lost_answer_was_committed_before_the_connection_broke() {
    let bench = bench().await;
    let client = bench.through_proxy().await;
    client.batch_execute("CREATE TABLE kept (word text)").await.unwrap();
    bench.proxy.lose_next_answer();
    assert!(client.execute("INSERT INTO kept VALUES ('implicit')", &[]).await.is_err());
    let lost_preparing = bench.rows().await == 0;
    assert!(lost_preparing && bench.proxy.lost(), "the next answer was the preparation's");

    let client = bench.through_proxy().await;
    let insert = client.prepare("INSERT INTO kept VALUES ('prepared')").await.unwrap();
    bench.proxy.lose_next_answer();
    assert!(client.execute(&insert, &[]).await.is_err());
    assert_eq!(bench.rows().await, 1);
    // One answer and no more.
    bench.through_proxy().await.execute("INSERT INTO kept VALUES ('later')", &[]).await.unwrap();
}

#[tokio::test]
async fn after_so_many_answers_none_is_heard_and_what_was_asked_is_done() {
    let bench = bench().await;
    let client = bench.through_proxy().await;
    client.batch_execute("CREATE TABLE kept (word text)").await.unwrap();
    bench.proxy.lose_answers_after(1);
    let insert = client.prepare("INSERT INTO kept VALUES ($1)").await.unwrap();
    client.execute(&insert, &[&"heard"]).await.unwrap();
    assert!(client.execute(&insert, &[&"unheard"]).await.is_err());
    assert_eq!(bench.rows().await, 2);
    let again = bench.through_proxy().await;
    assert!(again.batch_execute("SELECT 1").await.is_err());
}

#[tokio::test]
async fn the_answer_to_a_commit_is_lost_and_those_before_it_are_not() {
    let bench = bench().await;
    let mut client = bench.through_proxy().await;
    client.batch_execute("CREATE TABLE kept (word text)").await.unwrap();
    bench.proxy.lose_next_commit();
    let transaction = client.transaction().await.unwrap();
    transaction.execute("INSERT INTO kept VALUES ('explicit')", &[]).await.unwrap();
    assert!(!bench.proxy.lost());
    assert!(transaction.commit().await.is_err());
    assert!(bench.proxy.lost());
    assert_eq!(bench.rows().await, 1);
}

#[tokio::test]
async fn a_copy_passes_while_an_answer_is_to_be_lost() {
    let bench = bench().await;
    let client = bench.through_proxy().await;
    client.batch_execute("CREATE TABLE kept (word text)").await.unwrap();
    bench.proxy.lose_next_commit();
    // Waits for the server's CopyInResponse in the middle of a turn-around.
    let copy = client.copy_in::<_, bytes::Bytes>("COPY kept FROM STDIN");
    let sink = timeout(LIMIT, copy).await.unwrap().unwrap();
    let mut sink = std::pin::pin!(sink);
    timeout(LIMIT, sink.as_mut().finish()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_cancel_request_reaches_the_server() {
    let bench = bench().await;
    let client = bench.through_proxy().await;
    let token = client.cancel_token();
    let mut sleeping = std::pin::pin!(client.simple_query("SELECT pg_sleep(60)"));
    // The request may overtake the statement, so it is repeated until it hits.
    let hit = async || {
        token.cancel_query(NoTls).await.unwrap();
        match timeout(Duration::from_millis(50), &mut sleeping).await {
            Ok(ended) => Ok(ended),
            Err(_) => Err("still sleeping"),
        }
    };
    let ended = wait_for("the cancelled statement", LIMIT, hit).await.unwrap();
    assert_eq!(ended.unwrap_err().code(), Some(&tokio_postgres::error::SqlState::QUERY_CANCELED));
}
