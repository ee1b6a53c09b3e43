//! The clipboard channel: texts between viewer and helper, as policy allows.
//!
//! A helper that dies is started again in its workspace, so a connection to it that ends is made again, after a jittered wait that grows with
//! every try and begins anew only after one that lasted: the helper is the workspace's, and may hang up on purpose. Texts that are set meanwhile
//! are dropped.

use std::{path::PathBuf, pin::Pin, time::Duration};

use futures_util::{SinkExt, StreamExt};
use meridian_model::Policy;
use meridian_runtime::Backoff;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use crate::workspace::{self, FromHelper, HelperLines, ToHelper};

/// Longest text, in bytes; longer ones are dropped, not cut.
const MAX_TEXT_BYTES: usize = 256 << 10;
/// How long a helper may take to be connected to, or to take a text.
const HELPER_LIMIT: Duration = Duration::from_secs(1);
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A connection that lasted so long was a good one.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// Where a workspace's helper is.
#[derive(Clone)]
pub(super) struct HelperPlace {
    pub(super) directory: PathBuf,
    pub(super) uid: u32,
}

enum Link {
    /// None was found.
    None,
    Up {
        lines: HelperLines,
        since: Instant,
    },
    /// It is being looked for again.
    Down(Pin<Box<dyn Future<Output = HelperLines> + Send>>),
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Record {
    Text {
        text: String,
    },
    #[serde(other, skip_serializing)]
    Unknown,
}

/// What became of a viewer's text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Set {
    Sent,
    /// Policy forbids it.
    Refused,
    /// No helper, no text, or too long a one.
    Dropped,
}

/// A stream's clipboard; without a helper there is none.
pub(super) struct Clipboard {
    policy: Policy,
    place: HelperPlace,
    link: Link,
    backoff: Backoff,
}

impl Clipboard {
    pub(super) fn new(policy: Policy, place: HelperPlace) -> Self {
        Self { policy, place, link: Link::None, backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT) }
    }

    pub(super) fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    pub(super) fn connect(&mut self, lines: HelperLines) {
        self.link = Link::Up { lines, since: Instant::now() };
    }

    /// The helper is gone, or makes no sense: another connection may find one that does.
    fn lose(&mut self, since: Instant) {
        if since.elapsed() >= SETTLED_AFTER {
            self.backoff.reset();
        }
        let (place, mut backoff) = (self.place.clone(), self.backoff.clone());
        self.backoff.next_wait();
        self.link = Link::Down(Box::pin(async move {
            loop {
                sleep(backoff.next_wait()).await;
                let opening = workspace::open_helper(&place.directory, place.uid);
                if let Ok(Ok(lines)) = timeout(HELPER_LIMIT, opening).await {
                    return lines;
                }
            }
        }));
    }

    /// The next text that the workspace copied and policy lets out, as a record's payload. Safe to drop.
    pub(super) async fn copied(&mut self) -> Vec<u8> {
        loop {
            let (heard, since) = match &mut self.link {
                Link::None => std::future::pending().await,
                Link::Down(looking) => {
                    let lines = looking.await;
                    self.connect(lines);
                    continue;
                }
                Link::Up { lines, since } => (lines.next().await, *since),
            };
            let said = heard.and_then(Result::ok).and_then(|line| serde_json::from_str(&line).ok());
            match said {
                Some(FromHelper::Text { text })
                    if self.policy.clipboard_out && text.len() <= MAX_TEXT_BYTES =>
                {
                    if let Ok(payload) = serde_json::to_vec(&Record::Text { text }) {
                        return payload;
                    }
                }
                Some(FromHelper::Text { .. } | FromHelper::Ready { .. } | FromHelper::Unknown) => {}
                None => self.lose(since),
            }
        }
    }

    /// Puts a viewer's text on the workspace's clipboard.
    pub(super) async fn set(&mut self, payload: &[u8]) -> Set {
        if !self.policy.clipboard_in {
            return Set::Refused;
        }
        let Ok(Record::Text { text }) = serde_json::from_slice(payload) else { return Set::Dropped };
        let Link::Up { lines, since } = &mut self.link else { return Set::Dropped };
        if text.len() > MAX_TEXT_BYTES {
            return Set::Dropped;
        }
        let Ok(line) = serde_json::to_string(&ToHelper::Text { text: &text }) else { return Set::Dropped };
        // A helper that does not read is given up rather than waited for: it is the workspace's, and hostile.
        let (sent, since) = (timeout(HELPER_LIMIT, lines.send(line)).await, *since);
        if matches!(sent, Ok(Ok(()))) {
            Set::Sent
        } else {
            self.lose(since);
            Set::Dropped
        }
    }
}
