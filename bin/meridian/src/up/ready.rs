//! Waiting until a user can sign in and launch: every node was heard of since this start.

use std::{collections::HashMap, time::Duration};

use meridian_control::store::{Database, Store, nodes::WhichNodes};
use meridian_model::NodeRole;
use meridian_runtime::Tasks;
use tokio::time::Instant;

use super::layout::Layout;
use crate::exit::Failure;

const LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// More than a machine starts.
const MOST_NODES: i32 = 1000;

/// When each node was heard of last, before this start: the database still says that all is well, and their addresses may be others.
pub struct Before(HashMap<String, Option<String>>);

impl Before {
    /// To be called while no node runs. A database that is new knows none.
    pub async fn look(database: &Database) -> Self {
        let nodes = match Store::new(database.clone(), 1, ANSWER_LIMIT) {
            Ok(store) => {
                store.list_nodes(None, &WhichNodes::default(), None, MOST_NODES).await.unwrap_or_default()
            }
            Err(_) => Vec::new(),
        };
        Self(nodes.into_iter().map(|node| (node.id.to_string(), node.last_seen_at)).collect())
    }
}

/// Returns when all nodes of the layout were heard of, or after the limit with a warning: people can sign in all the same.
pub async fn wait(
    database: &Database,
    before: &Before,
    layout: &Layout,
    tasks: &Tasks,
) -> Result<(), Failure> {
    let store = Store::new(database.clone(), 1, ANSWER_LIMIT)?;
    let until = Instant::now() + LIMIT;
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        look.tick().await;
        let nodes = store.list_nodes(None, &WhichNodes::default(), None, MOST_NODES).await?;
        let ready = nodes
            .iter()
            .filter(|node| node.role != NodeRole::Web && ["ready", "draining"].contains(&node.state.as_str()))
            .filter(|node| before.0.get(&node.id.to_string()) != Some(&node.last_seen_at))
            .count();
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
