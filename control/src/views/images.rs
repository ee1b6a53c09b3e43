//! Images: what zones want on their agents, and how it stands there.

use meridian_ids::NodeId;
use meridian_runtime::Secret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An image that a zone wants on each of its agents ahead of need.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WantedImageView {
    pub reference: String,
    #[schema(value_type = String, format = DateTime)]
    pub wanted_at: String,
    /// Name of whoever asked for it.
    pub wanted_by: Option<String>,
}

/// An image to be wanted.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWantedImage {
    /// With a tag or a digest, such as `registry.example.org/desktop:1`.
    pub reference: String,
}

/// Who a zone's agents are at a registry. Its password is shown to nobody.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RegistryLoginView {
    pub host: String,
    pub username: String,
    #[schema(value_type = String, format = DateTime)]
    pub set_at: String,
    /// Name of whoever set it.
    pub set_by: Option<String>,
}

/// A login for a registry.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRegistryLogin {
    /// As references begin with it, such as `registry.example.org:5000`.
    pub host: String,
    pub username: String,
    #[schema(value_type = String, format = Password)]
    pub password: Secret<String>,
}

/// One image in one zone: what the zone wants, or what a workspace runs that is offered there.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ImageRowView {
    pub zone: String,
    pub reference: String,
    /// The zone wants it on each of its agents.
    pub wanted: bool,
    /// Workspaces that run it.
    pub workspaces: Vec<String>,
    pub agents: Vec<ImageCellView>,
    /// In words; empty: all is as it should be.
    pub warnings: Vec<String>,
}

/// How an image stands on an agent, as the agent said last.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ImageCellView {
    pub agent: String,
    #[schema(value_type = String, format = Uuid)]
    pub agent_id: NodeId,
    /// Whether the agent is heard of.
    pub reachable: bool,
    /// `absent`, `queued`, `pulling`, `present`, `failed`.
    pub state: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<String>,
    #[serde(default)]
    pub image_id: Option<String>,
    /// The registry's; none for what was built or loaded there.
    #[serde(default)]
    pub digest: Option<String>,
    #[serde(default)]
    pub size_bytes: Option<u64>,
    #[serde(default)]
    pub done_bytes: Option<u64>,
    #[serde(default)]
    pub total_bytes: Option<u64>,
    /// Why it could not be loaded.
    #[serde(default)]
    pub reason: Option<String>,
    /// When it is tried again.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retry_at: Option<String>,
    /// How often it failed in a row.
    #[serde(default)]
    pub tries: Option<u32>,
    /// What is left where the agent's images lie.
    #[serde(default)]
    pub disk_free_mb: Option<u64>,
    #[serde(default)]
    pub disk_total_mb: Option<u64>,
}

/// What is not as it should be with an image in a zone.
#[must_use]
pub fn image_warnings(wanted: bool, agents: &[ImageCellView]) -> Vec<String> {
    let mut warnings = Vec::new();
    if wanted && agents.is_empty() {
        warnings.push("the zone has no agent to have it".to_owned());
    }
    let having: Vec<_> = agents.iter().filter(|cell| cell.state == "present").collect();
    if !agents.is_empty() && having.len() < agents.len() && (wanted || !having.is_empty()) {
        let without: Vec<_> = names(agents.iter().filter(|cell| cell.state != "present"));
        warnings.push(format!(
            "{} of {} agents have it; not {}",
            having.len(),
            agents.len(),
            without.join(", ")
        ));
    }
    // A registry's digest is the same on every engine; an engine's own id is, where engines store alike.
    let by_digest = having.iter().all(|cell| cell.digest.is_some());
    let mut kinds: Vec<Option<&String>> = Vec::new();
    for cell in &having {
        let kind = if by_digest { cell.digest.as_ref() } else { cell.image_id.as_ref() };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if kinds.len() > 1 {
        warnings.push(format!("agents have {} different images under this name", kinds.len()));
    }
    for cell in agents.iter().filter(|cell| cell.state == "failed").take(3) {
        let reason = cell.reason.as_deref().unwrap_or("no reason was given");
        warnings.push(format!("{}: {reason}", cell.agent));
    }
    warnings
}

/// The first few names.
fn names<'a>(cells: impl Iterator<Item = &'a ImageCellView>) -> Vec<String> {
    const MOST: usize = 5;
    let all: Vec<_> = cells.map(|cell| cell.agent.clone()).collect();
    let mut shown: Vec<_> = all.iter().take(MOST).cloned().collect();
    if all.len() > MOST {
        shown.push(format!("and {} more", all.len() - MOST));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(agent: &str, state: &str, id: &str, digest: Option<&str>) -> ImageCellView {
        ImageCellView {
            agent: agent.into(),
            agent_id: NodeId::generate(),
            reachable: true,
            state: state.into(),
            since: None,
            image_id: Some(id.into()),
            digest: digest.map(str::to_owned),
            size_bytes: None,
            done_bytes: None,
            total_bytes: None,
            reason: None,
            retry_at: None,
            tries: None,
            disk_free_mb: None,
            disk_total_mb: None,
        }
    }

    #[test]
    fn a_zones_agents_that_differ_are_warned_of() {
        let same = [cell("a", "present", "1", None), cell("b", "present", "1", None)];
        assert_eq!(image_warnings(true, &same), [""; 0]);
        let stored_otherwise = [cell("a", "present", "1", Some("x")), cell("b", "present", "2", Some("x"))];
        assert_eq!(image_warnings(true, &stored_otherwise), [""; 0], "the registry's digest counts");
        let other = [cell("a", "present", "1", Some("x")), cell("b", "present", "2", Some("y"))];
        assert_eq!(image_warnings(true, &other), ["agents have 2 different images under this name"]);
        let failed = ImageCellView { reason: Some("it is away".into()), ..cell("b", "failed", "", None) };
        let partly = [cell("a", "present", "1", None), failed];
        assert_eq!(image_warnings(true, &partly), ["1 of 2 agents have it; not b", "b: it is away"]);
        assert_eq!(image_warnings(true, &[]), ["the zone has no agent to have it"]);
        let nowhere = [cell("a", "absent", "", None)];
        assert_eq!(image_warnings(false, &nowhere), [""; 0], "nobody wants it");
    }
}
