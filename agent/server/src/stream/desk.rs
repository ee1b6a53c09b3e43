//! The workspace's side of a `meridian.v1` stream: the display's connection and the helper's, and the records that lead to them.
//!
//! It lives as long as its stream's counts do, whatever path carries them: in the middle of a record, of a message of the viewer's or of a picture,
//! the next path goes on where the last one broke.

use std::{pin::Pin, time::Duration};

use bytes::BytesMut;
use meridian_model::Policy;
use meridian_stream::{Channel, Piece, RecordReader};
use serde::Deserialize;
use tokio::time::timeout;

use super::{
    Service,
    clipboard::{Clipboard, HelperPlace, Set},
    display::{Display, Turn, wait_and_open},
};
use crate::workspace::{self, HelperLines};

/// Unread by the display: beyond this nothing more is acknowledged.
const ACK_BELOW: usize = 32 * 1024;
/// Unread by the display: beyond this nothing is resumed, because every attach lets the viewer send another window.
const MAX_UNREAD: usize = 256 * 1024;

pub(super) struct Desk {
    opening: Option<Opening>,
    display: Option<Display>,
    clipboard: Clipboard,
    records: RecordReader,
}

type Opening = Pin<Box<dyn Future<Output = Result<(Display, Option<HelperLines>), String>> + Send>>;

/// What happened in the workspace.
pub(super) enum News {
    /// The display is open.
    Opened,
    /// The display took some of what waited for it.
    Wrote,
    Read(BytesMut),
    /// The workspace copied a text; a clipboard record's payload.
    Copied(Vec<u8>),
    /// There is no display any more, or never was one.
    Closed(String),
}

/// What a viewer's bytes came to, besides what went to the workspace.
#[derive(Default)]
pub(super) struct Taken {
    /// Policy forbids the text that was among them.
    pub(super) clipboard_refused: bool,
    /// The viewer wants nobody to look on.
    pub(super) stop_watching: bool,
}

/// What a viewer says to the agent itself.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Control {
    StopWatching,
    #[serde(other)]
    Unknown,
}

impl Desk {
    /// The display once it is up, and the helper where policy has a use for it.
    pub(super) fn open(service: &Service) -> Self {
        let (sessions, session, policy) = (service.sessions.clone(), service.grant.sub, service.grant.policy);
        let (directory, uid) = (service.directory.clone(), service.workspace_uid);
        let activity = service.streams.activity(&service.grant);
        let limit: Duration = service.limits.display_wait;
        let helper = HelperPlace { directory: directory.clone(), uid };
        let opening = async move {
            let display = wait_and_open(&sessions, session, &directory, uid, policy, activity, limit).await?;
            let helper = if policy.clipboard_in || policy.clipboard_out {
                // Images without a helper have no clipboard.
                timeout(limit, workspace::open_helper(&directory, uid)).await.ok().and_then(Result::ok)
            } else {
                None
            };
            Ok((display, helper))
        };
        Self {
            opening: Some(Box::pin(opening)),
            display: None,
            clipboard: Clipboard::new(policy, helper),
            records: RecordReader::default(),
        }
    }

    /// The next thing to happen: of the display's bytes and the workspace's texts only while they are wanted. Safe to drop.
    pub(super) async fn turn(&mut self, want_bytes: bool, want_copies: bool) -> News {
        tokio::select! {
            opened = maybe(&mut self.opening) => {
                self.opening = None;
                match opened {
                    Ok((display, helper)) => {
                        self.display = Some(display);
                        if let Some(helper) = helper {
                            self.clipboard.connect(helper);
                        }
                        News::Opened
                    }
                    Err(reason) => News::Closed(reason),
                }
            }
            turn = turn(&mut self.display, want_bytes) => match turn {
                Ok(Turn::Wrote) => News::Wrote,
                Ok(Turn::Read(bytes)) if !bytes.is_empty() => News::Read(bytes),
                Ok(Turn::Read(_)) | Err(_) => News::Closed("the workspace's display closed".into()),
            },
            copied = self.clipboard.copied(), if want_copies => News::Copied(copied),
        }
    }

    /// Takes the next bytes of the viewer's counted stream.
    ///
    /// # Errors
    /// When they are not what a viewer may say; in words.
    pub(super) async fn take(&mut self, mut bytes: &[u8]) -> Result<Taken, String> {
        let mut taken = Taken::default();
        while let Some(piece) = self.records.next(&mut bytes).map_err(|error| error.to_string())? {
            match piece {
                Piece::Display(part) => {
                    // A viewer speaks when the display has spoken, and that is when it is open.
                    let Some(display) = &mut self.display else {
                        return Err("the display has not been opened yet".into());
                    };
                    display.push(part).map_err(|error| error.to_string())?;
                }
                Piece::Whole(Channel::Clipboard, payload) => {
                    if self.clipboard.set(&payload).await == Set::Refused {
                        taken.clipboard_refused = true;
                    }
                }
                Piece::Whole(Channel::Control, payload) => match serde_json::from_slice(&payload) {
                    Ok(Control::StopWatching) => taken.stop_watching = true,
                    // What is not understood is ignored.
                    Ok(Control::Unknown) | Err(_) => {}
                },
                Piece::Whole(Channel::Display, _) => {}
            }
        }
        Ok(taken)
    }

    /// Whether the display leaves so much unread that the viewer must wait.
    pub(super) fn lags(&self) -> bool {
        self.unread() > ACK_BELOW
    }

    /// Whether a viewer that comes back finds here what it left.
    pub(super) fn may_go_on(&self) -> bool {
        self.unread() <= MAX_UNREAD && !self.display.as_ref().is_some_and(Display::has_closed)
    }

    pub(super) fn unread(&self) -> usize {
        self.display.as_ref().map_or(0, Display::waiting)
    }

    /// The grant of a later path may allow another thing.
    pub(super) fn set_policy(&mut self, policy: Policy) {
        self.clipboard.set_policy(policy);
        if let Some(display) = &mut self.display {
            display.set_policy(policy);
        }
    }

    /// Lets go of every key and button that the viewer holds.
    pub(super) fn let_go(&mut self) {
        if let Some(display) = &mut self.display {
            display.let_go();
        }
    }

    pub(super) async fn close(self) {
        if let Some(display) = self.display {
            display.release().await;
        }
    }
}

async fn maybe(opening: &mut Option<Opening>) -> Result<(Display, Option<HelperLines>), String> {
    match opening {
        Some(opening) => opening.await,
        None => std::future::pending().await,
    }
}

async fn turn(display: &mut Option<Display>, want_bytes: bool) -> std::io::Result<Turn> {
    match display {
        Some(display) => display.turn(want_bytes).await,
        None => std::future::pending().await,
    }
}
