//! Looking on at somebody else's session, with their consent.

use meridian_ids::WatchId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::SessionUserView;

/// Somebody asks to look on at a session, or does.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WatchView {
    #[schema(value_type = String, format = Uuid)]
    pub id: WatchId,
    /// Who.
    pub watcher: SessionUserView,
    /// Why, in the watcher's own words.
    pub reason: String,
    pub state: WatchState,
    /// Whether a page of the session's user showed the question.
    pub seen: bool,
    #[schema(value_type = String, format = DateTime)]
    pub asked_at: String,
    /// When the question goes away by itself.
    #[schema(value_type = String, format = DateTime)]
    pub answer_by: String,
    /// Until when it is allowed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<String>,
    /// When the first stream was opened.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub began_at: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<String>,
    /// Why it is over.
    pub because: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WatchState {
    Asked,
    Allowed,
    Declined,
    /// Nobody answered in time, or the question meant nothing any more.
    Expired,
    /// Taken back by whoever asked.
    Withdrawn,
    Ended,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWatch {
    /// What the person at the desktop is told of why: one line of 1 to 128 characters.
    pub reason: String,
}

/// What the person at the desktop says to the question.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchAnswer {
    pub answer: WatchAnswerWord,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WatchAnswerWord {
    /// A page shows the question; nothing is answered yet.
    Seen,
    Allow,
    Decline,
}

impl WatchAnswerWord {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Allow => "allow",
            Self::Decline => "decline",
        }
    }
}
