//! What decision 0001 rests on: a pooled connection costs nothing to check out and nothing to give back.

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use meridian_harness::{TestDatabase, WireProxy};
use meridian_runtime::Tasks;
use tokio_postgres::NoTls;

#[tokio::test]
async fn a_checked_out_connection_costs_no_turn_around_of_its_own() {
    let tasks = Tasks::new();
    let database = TestDatabase::empty().await.unwrap();
    let proxy = WireProxy::on_unix(&database.config(), &tasks).await.unwrap();
    let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let pool =
        Pool::builder(Manager::from_config(proxy.config(), NoTls, config)).max_size(1).build().unwrap();
    pool.get().await.unwrap().prepare_cached("SELECT $1::int8").await.unwrap();

    let before = proxy.counts();
    for number in 0..10_i64 {
        let client = pool.get().await.unwrap();
        let statement = client.prepare_cached("SELECT $1::int8").await.unwrap();
        client.query_one(&statement, &[&number]).await.unwrap();
    }
    let cost = proxy.counts() - before;
    assert_eq!((cost.ready, cost.syncs, cost.queries, cost.connections), (10, 10, 0, 0));
}
