//! Who may dial an agent next.
//!
//! After a relay or a machine died, thousands of streams come back at once. Opened all at the same time, each would take as long as all of
//! them together: longer than viewers wait, so that the work is thrown away and asked for again. Therefore a proxy opens only so many streams to
//! one agent at a time, first come, first served; the others cost nothing meanwhile, and whoever leaves the queue is forgotten. An agent that is
//! silent holds up nobody but its own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use meridian_ids::NodeId;
use meridian_proxy_core::Refusal;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Streams that are opened to one agent at a time: enough for any agent to have work, few enough that each is open within a fraction of a second.
const AT_ONCE: usize = 32;
/// Viewers wait about as long.
const TURN_WAIT: Duration = Duration::from_secs(8);

/// One queue for each agent that is being dialled.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    agents: Mutex<HashMap<NodeId, Weak<Semaphore>>>,
}

impl Turns {
    /// Waits for a turn at this agent. It ends when the result is dropped.
    pub(crate) async fn next(&self, agent: NodeId) -> Result<OwnedSemaphorePermit, Refusal> {
        let waiting = timeout(TURN_WAIT, self.queue(agent).acquire_owned()).await;
        Ok(waiting.map_err(|_| Refusal::AgentBusy)?.expect("the semaphore is never closed"))
    }

    fn queue(&self, agent: NodeId) -> Arc<Semaphore> {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = agents.get(&agent).and_then(Weak::upgrade) {
            return queue;
        }
        agents.retain(|_, queue| queue.strong_count() > 0);
        let queue = Arc::new(Semaphore::new(AT_ONCE));
        agents.insert(agent, Arc::downgrade(&queue));
        queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_busy_agent_holds_up_nobody_elses_streams() {
        let turns = Turns::default();
        let (busy, other) = (NodeId::generate(), NodeId::generate());
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            held.push(turns.next(busy).await.unwrap());
        }
        assert!(turns.queue(busy).try_acquire_owned().is_err());
        drop(turns.next(other).await.unwrap());
        held.pop();
        drop(turns.next(busy).await.unwrap());
    }

    #[tokio::test]
    async fn agents_that_are_not_dialled_are_forgotten() {
        let turns = Turns::default();
        for _ in 0..100 {
            drop(turns.next(NodeId::generate()).await.unwrap());
        }
        assert_eq!(turns.agents.lock().unwrap().len(), 1);
    }
}
