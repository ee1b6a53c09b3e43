//! The clipboard channel: texts between viewer and helper, as policy allows.

use futures_util::{SinkExt, StreamExt};
use meridian_model::Policy;
use serde::{Deserialize, Serialize};

use crate::workspace::{FromHelper, HelperLines, ToHelper};

/// Longest text, in bytes; longer ones are dropped, not cut.
const MAX_TEXT_BYTES: usize = 256 << 10;

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
    helper: Option<HelperLines>,
}

impl Clipboard {
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy, helper: None }
    }

    pub(super) fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    pub(super) fn connect(&mut self, helper: HelperLines) {
        self.helper = Some(helper);
    }

    /// The next text that the workspace copied and policy lets out, as a record's payload. Safe to drop.
    pub(super) async fn copied(&mut self) -> Vec<u8> {
        while let Some(helper) = &mut self.helper {
            match helper.next().await {
                Some(Ok(line)) => match serde_json::from_str(&line) {
                    Ok(FromHelper::Text { text })
                        if self.policy.clipboard_out && text.len() <= MAX_TEXT_BYTES =>
                    {
                        if let Ok(payload) = serde_json::to_vec(&Record::Text { text }) {
                            return payload;
                        }
                    }
                    Ok(FromHelper::Text { .. } | FromHelper::Ready { .. } | FromHelper::Unknown) => {}
                    // A helper that makes no sense is not listened to any more.
                    Err(_) => self.helper = None,
                },
                Some(Err(_)) | None => self.helper = None,
            }
        }
        std::future::pending().await
    }

    /// Puts a viewer's text on the workspace's clipboard.
    pub(super) async fn set(&mut self, payload: &[u8]) -> Set {
        if !self.policy.clipboard_in {
            return Set::Refused;
        }
        let Ok(Record::Text { text }) = serde_json::from_slice(payload) else { return Set::Dropped };
        let Some(helper) = self.helper.as_mut().filter(|_| text.len() <= MAX_TEXT_BYTES) else {
            return Set::Dropped;
        };
        let Ok(line) = serde_json::to_string(&ToHelper::Text { text: &text }) else { return Set::Dropped };
        // A helper that does not read is given up rather than waited for: it is the workspace's, and hostile.
        let sent = tokio::time::timeout(std::time::Duration::from_secs(1), helper.send(line)).await;
        if matches!(sent, Ok(Ok(()))) {
            Set::Sent
        } else {
            self.helper = None;
            Set::Dropped
        }
    }
}
