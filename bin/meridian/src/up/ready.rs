//! Waiting until a user can sign in and launch: every node was heard of.

use std::time::Duration;

use meridian_control::store::Store;
use meridian_model::NodeRole;
use meridian_runtime::Tasks;
use tokio::time::Instant;

use super::layout::Layout;
use crate::exit::Failure;

const LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Returns when all nodes of the layout are ready, or after the limit with a warning: people can sign in all the same.
pub async fn wait(database: &tokio_postgres::Config, layout: &Layout, tasks: &Tasks) -> Result<(), Failure> {
    let store = Store::new(database.clone(), 1, Duration::from_secs(5))?;
    let until = Instant::now() + LIMIT;
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        look.tick().await;
        let nodes = store.list_nodes().await?;
        let ready = nodes.iter().filter(|node| node.role != NodeRole::Web && node.state == "ready").count();
        if ready >= layout.nodes() || tasks.stopping().is_cancelled() {
            return Ok(());
        }
        if Instant::now() > until {
            tracing::warn!(
                ready,
                expected = layout.nodes(),
                "not every node has reported; see the console's Nodes page"
            );
            return Ok(());
        }
    }
}
