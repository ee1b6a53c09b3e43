//! Why something runs where it runs, and why something does not run at all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::HomeView;

/// Why a session is where it is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExplanationView {
    pub chosen: Option<PlaceView>,
    /// How many candidates were passed over, or taken, for each reason.
    pub counts: BTreeMap<String, i64>,
    /// The first twenty candidates, in the order they were asked; the chosen one is always among them.
    pub candidates: Vec<CandidateView>,
    /// The first twenty zones, in the order they were asked.
    #[serde(default)]
    pub zones: Vec<TriedZoneView>,
    /// Which zone it was meant for.
    #[serde(default)]
    pub choice: Option<ZoneChoiceView>,
}

/// Which zone a launch was meant for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ZoneChoiceView {
    pub zone: String,
    /// In words: `you chose it`, `it is your home zone`, `it is the nearest to you, as measured`.
    pub because: String,
    /// What that zone lacked, in words, when the session runs in another.
    #[serde(default)]
    pub elsewhere_because: Option<String>,
    /// Milliseconds to the zone where it runs and back, as the page measured last before the launch.
    #[serde(default)]
    pub distance_ms: Option<f64>,
    /// The same to the zone it was meant for.
    #[serde(default)]
    pub meant_distance_ms: Option<f64>,
}

/// A zone that was asked for a place, or that a rule kept out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TriedZoneView {
    pub zone: String,
    /// In words: `chosen`, `none of its agents fits`, `isolated: it lends nothing`.
    pub verdict: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PlaceView {
    pub zone: String,
    pub agent: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CandidateView {
    pub zone: String,
    pub agent: String,
    /// In words: `chosen`, `fits`, `no image yet`, `0.5 core short`, `draining`.
    pub verdict: String,
}

/// What would become of a launch now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PreviewView {
    pub user: String,
    pub workspace: String,
    /// Why the workspace is not in this user's catalogue; none: it is.
    pub hidden_because: Option<String>,
    /// What policy, or where the home is, has against the launch, in words; none: nothing.
    pub refusal: Option<String>,
    pub choice: ZoneChoiceView,
    /// Whether the user's policy keeps a home for it.
    pub keeps_home: bool,
    /// The home that is there already, and decides where it runs.
    pub home: Option<HomeView>,
    /// Every zone that may be asked, in order, with the rule that keeps it out, if one does.
    pub zones: Vec<TriedZoneView>,
    /// How many candidates would be passed over, or fit, for each reason.
    pub counts: BTreeMap<String, i64>,
    /// A page of the candidates, in the order they would be asked: the first that fits gets it.
    pub candidates: Vec<CandidateView>,
    /// Cursor of the page after it.
    pub next: Option<String>,
}

/// A launch that was refused.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RefusalView {
    pub id: String,
    #[schema(value_type = String, format = DateTime)]
    pub at: String,
    pub user: Option<String>,
    pub workspace: String,
    /// `capacity`, `limit`, `policy` or `not_offered`.
    pub outcome: String,
    /// The zone it was meant for.
    pub zone: Option<String>,
    /// As the refused person was told it.
    pub request_id: String,
    /// What stood against it, where that was a setting of the policy.
    pub setting: Option<String>,
    /// How many candidates were passed over for each reason.
    #[serde(default)]
    pub counts: BTreeMap<String, i64>,
    #[serde(default)]
    pub candidates: Vec<CandidateView>,
    #[serde(default)]
    pub zones: Vec<TriedZoneView>,
}

/// What a page measured.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMeasurement {
    pub zones: Vec<MeasuredZoneView>,
}

/// Round trips to one zone's entry; those that failed are left out. Fewer than three count as not reached.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MeasuredZoneView {
    pub zone: String,
    pub round_trips_ms: Vec<f64>,
}

/// The zone that the server takes for the nearest.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NearestView {
    pub zone: Option<String>,
}
