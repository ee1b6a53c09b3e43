//! News from the database: which session and node just changed.
//!
//! One connection of its own listens; everybody in this process who watches something hears of it. News may be lost (a cut
//! connection, a slow listener): whoever watches also looks again after [`LOOK_AGAIN`].

use std::time::Duration;

use futures_util::{StreamExt, stream};
use meridian_ids::{NodeId, SessionId, ZoneId};
use meridian_runtime::{Backoff, Tasks};
use tokio::sync::broadcast;
use tokio_postgres::AsyncMessage;

use crate::store::{Database, StoreError};

/// How long a watcher waits at most before it looks by itself.
pub const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// News that a slow watcher may be behind; beyond it, it looks again.
const BACKLOG: usize = 1024;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// A session, and with it what its node shall do.
    Session { node: NodeId, session: SessionId },
    /// A zone's settings, revocations or nodes: what its relays and balancers know of it.
    Zone(ZoneId),
}

/// The news of this process. Clones share it.
#[derive(Clone)]
pub struct Bus {
    sender: broadcast::Sender<Changed>,
}

impl Bus {
    /// Starts listening, and goes on until the tasks stop.
    #[must_use]
    pub fn start(database: Database, tasks: &Tasks) -> Self {
        let (sender, _) = broadcast::channel(BACKLOG);
        let bus = Self { sender: sender.clone() };
        tasks.spawn_until_stop("database news", async move {
            let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
            loop {
                match listen(&database, &sender, &mut backoff).await {
                    Ok(()) => tracing::debug!("the connection for news was closed"),
                    Err(error) => tracing::debug!(%error, "the connection for news was lost"),
                }
                tokio::time::sleep(backoff.next_wait()).await;
            }
        });
        bus
    }

    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Changed> {
        self.sender.subscribe()
    }
}

/// Waits until something that `concerns` the watcher changed, it fell behind, or [`LOOK_AGAIN`] is over.
pub async fn next_look(news: &mut broadcast::Receiver<Changed>, concerns: impl Fn(&Changed) -> bool) {
    let heard = async {
        loop {
            match news.recv().await {
                Ok(changed) if concerns(&changed) => return,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    };
    let _ = tokio::time::timeout(LOOK_AGAIN, heard).await;
}

async fn listen(
    database: &Database,
    sender: &broadcast::Sender<Changed>,
    backoff: &mut Backoff,
) -> Result<(), StoreError> {
    let (client, mut connection) = database.connect().await?;
    let mut messages = Box::pin(stream::poll_fn(move |context| connection.poll_message(context)));
    let listening = client.batch_execute("LISTEN meridian");
    tokio::pin!(listening);
    let mut started = false;
    loop {
        tokio::select! {
            outcome = &mut listening, if !started => {
                outcome?;
                started = true;
                backoff.reset();
            }
            message = messages.next() => match message {
                Some(Ok(AsyncMessage::Notification(news))) => {
                    if let Some(changed) = parse(news.payload()) {
                        // Nobody may be watching just now.
                        let _ = sender.send(changed);
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            }
        }
    }
}

fn parse(payload: &str) -> Option<Changed> {
    match payload.split_once(' ')? {
        ("zone", zone) => Some(Changed::Zone(zone.parse().ok()?)),
        (node, session) => {
            Some(Changed::Session { node: node.parse().ok()?, session: session.parse().ok()? })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_read_and_what_a_later_release_says_is_passed_over() {
        let (node, session, zone) = (NodeId::generate(), SessionId::generate(), ZoneId::generate());
        assert_eq!(parse(&format!("{node} {session}")), Some(Changed::Session { node, session }));
        assert_eq!(parse(&format!("zone {zone}")), Some(Changed::Zone(zone)));
        for unknown in
            [String::new(), "x".into(), format!("planet {zone}"), format!("{node} x"), "zone x".into()]
        {
            assert_eq!(parse(&unknown), None, "{unknown}");
        }
    }
}
