//! How many turn-arounds each client costs per use of a pooled connection, whether it sends ahead, and what it makes of several hosts.

use std::time::Duration;

use anyhow::Result;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use futures_util::future::join_all;
use meridian_harness::{Counts, TestDatabase, WireProxy};
use meridian_runtime::Tasks;
use sqlx::Connection;
use tokio_postgres::NoTls;

const USES: i64 = 100;
const QUERY: &str = "SELECT $1::int8 + 1";
const OTHER_QUERY: &str = "SELECT $1::int8 + 2";

#[tokio::main]
async fn main() -> Result<()> {
    let tasks = Tasks::new();
    let database = TestDatabase::empty().await?;
    let (first, second) = (
        WireProxy::on_tcp(&database.config(), &tasks).await?,
        WireProxy::on_tcp(&database.config(), &tasks).await?,
    );
    tokio_postgres_costs(&first).await?;
    sqlx_costs(&first).await?;
    several_hosts(&first, &second, database.name()).await
}

fn show(what: &str, counts: Counts) {
    let per_use = |count: u64| count as f64 / USES as f64;
    println!(
        "{what:<62} ReadyForQuery per use {:.2}, executes {:.2}",
        per_use(counts.ready),
        per_use(counts.executes)
    );
}

async fn tokio_postgres_costs(proxy: &WireProxy) -> Result<()> {
    for (name, recycling_method) in [
        ("Fast", RecyclingMethod::Fast),
        ("Verified", RecyclingMethod::Verified),
        ("Clean", RecyclingMethod::Clean),
    ] {
        let manager = Manager::from_config(proxy.config(), NoTls, ManagerConfig { recycling_method });
        let pool = Pool::builder(manager).max_size(1).build()?;
        pool.get().await?.prepare_cached(QUERY).await?;
        let before = proxy.counts();
        for i in 0..USES {
            let client = pool.get().await?;
            client.query_one(&client.prepare_cached(QUERY).await?, &[&i]).await?;
        }
        show(&format!("tokio-postgres, deadpool {name}, prepared"), proxy.counts() - before);
        if name == "Fast" {
            dearer_ways(proxy, &pool).await?;
            sending_ahead(proxy, &pool).await?;
        }
    }
    Ok(())
}

async fn dearer_ways(proxy: &WireProxy, pool: &Pool) -> Result<()> {
    let before = proxy.counts();
    for i in 0..USES {
        pool.get().await?.query_one(OTHER_QUERY, &[&i]).await?;
    }
    show("tokio-postgres, deadpool Fast, not prepared", proxy.counts() - before);
    let before = proxy.counts();
    for i in 0..USES {
        let mut client = pool.get().await?;
        let statement = client.prepare_cached(QUERY).await?;
        let transaction = client.transaction().await?;
        transaction.query_one(&statement, &[&i]).await?;
        transaction.commit().await?;
    }
    show("tokio-postgres, deadpool Fast, prepared, in a transaction", proxy.counts() - before);
    Ok(())
}

async fn sending_ahead(proxy: &WireProxy, pool: &Pool) -> Result<()> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(QUERY).await?;
    let before = proxy.counts();
    let slow = client.simple_query("SELECT pg_sleep(1)");
    let queries = join_all((0..10_i64).map(async |i| client.query_one(&statement, &[&i]).await.is_ok()));
    let look = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        proxy.counts() - before
    };
    let (_, answers, then) = tokio::join!(slow, queries, look);
    println!(
        "tokio-postgres, while a statement of 1 s runs on the connection: {} of 10 further ones sent, {} answered; in the end {} succeeded",
        then.executes,
        then.ready,
        answers.iter().filter(|ok| **ok).count()
    );
    Ok(())
}

async fn sqlx_costs(proxy: &WireProxy) -> Result<()> {
    for (name, ping) in [("as it comes", true), ("test_before_acquire(false)", false)] {
        let options = sqlx::postgres::PgPoolOptions::new().max_connections(1).test_before_acquire(ping);
        let pool = options.connect(proxy.url()).await?;
        sqlx::query_scalar::<_, i64>(QUERY).bind(0_i64).fetch_one(&pool).await?;
        let before = proxy.counts();
        for i in 0..USES {
            sqlx::query_scalar::<_, i64>(QUERY).bind(i).fetch_one(&pool).await?;
        }
        show(&format!("sqlx, {name}, prepared"), proxy.counts() - before);
        let before = proxy.counts();
        for i in 0..USES {
            let mut transaction = pool.begin().await?;
            sqlx::query_scalar::<_, i64>(QUERY).bind(i).fetch_one(&mut *transaction).await?;
            transaction.commit().await?;
        }
        show(&format!("sqlx, {name}, prepared, in a transaction"), proxy.counts() - before);
        pool.close().await;
    }
    Ok(())
}

async fn several_hosts(first: &WireProxy, second: &WireProxy, database: &str) -> Result<()> {
    let port = |proxy: &WireProxy| proxy.config().get_ports()[0];
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", port(first), port(second));
    first.refuse().await?;
    for (hosts, wish) in [(hosts, "read-write"), (format!("127.0.0.1:{}", port(second)), "read-only")] {
        let url = format!("postgresql://meridian@{hosts}/{database}?target_session_attrs={wish}");
        let tokio_postgres = tokio_postgres::connect(&url, NoTls).await;
        println!("tokio-postgres, {wish} on {hosts}: {}", said(tokio_postgres));
        println!("sqlx, the same: {}", said(sqlx::PgConnection::connect(&url).await));
    }
    Ok(())
}

fn said<T, E: std::error::Error>(result: Result<T, E>) -> String {
    match result {
        Ok(_) => "connected".to_owned(),
        Err(error) => {
            let cause = error.source().map(|source| format!(" ({source})")).unwrap_or_default();
            format!("{error}{cause}")
        }
    }
}
