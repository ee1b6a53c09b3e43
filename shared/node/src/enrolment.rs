//! Becoming a node: reading a saved identity, or trading a single-use token for one.
//!
//! Enrolment goes to the primary's public address. What may pass by itself (no connection, an error of the server's) is tried again
//! with jittered backoff until the caller gives up; what cannot (a token that is used up, a malformed answer) ends it with the reason.

use std::{path::Path, time::Duration};

use meridian_identity::{IdentityError, NodeFiles, NodeKey, NodeName, NodeTls};
use meridian_ids::{DeploymentId, NodeId, ZoneId};
use meridian_model::NodeRole;
use meridian_runtime::{Backoff, VERSION};
use meridian_settings::NodeSection;
use meridian_wire::{EnrollRequest, EnrollResponse, WireError, public_paths};
use serde::{Deserialize, Serialize};

use crate::upstream::{UpstreamError, upstream_http};

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// An answer to enrolment is a few certificates; a longer one is not looked at.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// Why a node could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("this node's saved identity cannot be used")]
    Identity(#[from] IdentityError),
    #[error("{path} does not describe a node")]
    Description {
        path: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("the identity in {path} is a {found}'s, and this is a {wanted}: use a data directory of its own")]
    Role { path: String, found: NodeRole, wanted: NodeRole },
    #[error(
        "this node is not enrolled: make a token with `meridian admin nodes enroll` and name its file in enroll_token_file"
    )]
    NoToken,
    #[error("cannot read the enrolment token in {path}")]
    TokenFile {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    #[error("the Web App at {upstream} refused the enrolment: {message}")]
    Refused { upstream: String, message: String },
    #[error("the Web App at {upstream} answered an enrolment with something else")]
    Answer { upstream: String },
    #[error("the node's disk refused")]
    Disk(#[from] std::io::Error),
}

/// Who the node is, as saved beside its key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) node_id: NodeId,
    pub(crate) role: NodeRole,
    pub(crate) zone_id: Option<ZoneId>,
    #[serde(default)]
    pub(crate) zone_name: Option<String>,
    pub(crate) deployment_id: DeploymentId,
    /// `host:port` of the Web App's node listener.
    pub(crate) node_listener: String,
}

impl Description {
    pub(crate) fn name(&self) -> NodeName {
        NodeName { node: self.node_id, role: self.role, zone: self.zone_id }
    }
}

/// A node's identity in memory.
pub(crate) struct Membership {
    pub(crate) description: Description,
    pub(crate) key: NodeKey,
    pub(crate) tls: NodeTls,
    pub(crate) files: NodeFiles,
}

/// Reads the identity in the node's data directory, or enrols.
pub(crate) async fn join(section: &NodeSection, role: NodeRole) -> Result<Membership, JoinError> {
    let files = NodeFiles::new(&section.data);
    if !files.exist() {
        enrol(section, role, &files).await?;
    }
    let (key, certificate, authority, description) = files.load()?;
    let path = section.data.join("node.json").display().to_string();
    let description: Description = serde_json::from_str(&description)
        .map_err(|source| JoinError::Description { path: path.clone(), source })?;
    if description.role != role {
        return Err(JoinError::Role { path, found: description.role, wanted: role });
    }
    // A crash between saving the identity and this line leaves a used token behind, which opens nothing.
    remove_token(section);
    let tls = NodeTls::new(&key, &certificate, &authority)?;
    Ok(Membership { description, key, tls, files })
}

async fn enrol(section: &NodeSection, role: NodeRole, files: &NodeFiles) -> Result<(), JoinError> {
    let token = read_token(section.enroll_token_file.as_deref())?;
    let http = upstream_http(section.upstream_ca_file.as_deref())?;
    // One key for all tries: whoever answers a repeated try sees the same node again.
    let key = NodeKey::generate()?;
    let request = EnrollRequest {
        token,
        name: section.name.clone(),
        csr_pem: key.request_pem()?,
        address: section.advertise.clone().unwrap_or_default(),
        version: VERSION.to_owned(),
    };
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let response = loop {
        match try_enrol(&http, &section.upstream, &request).await {
            Try::Done(response) => break *response,
            Try::Refused(message) => {
                return Err(JoinError::Refused { upstream: section.upstream.clone(), message });
            }
            Try::Unfit => return Err(JoinError::Answer { upstream: section.upstream.clone() }),
            Try::Later(reason) => {
                tracing::warn!(hop = "web", upstream = %section.upstream, %reason, "cannot enrol yet, trying again");
                tokio::time::sleep(backoff.next_wait()).await;
            }
        }
    };
    if response.role != role {
        let message = format!("the token is for a {}, and this is a {role}", response.role);
        return Err(JoinError::Refused { upstream: section.upstream.clone(), message });
    }
    save(files, &key, &response)?;
    tracing::info!(id = %response.node_id, "enrolled");
    Ok(())
}

fn save(files: &NodeFiles, key: &NodeKey, response: &EnrollResponse) -> Result<(), JoinError> {
    // Proven to fit before it counts.
    NodeTls::new(key, &response.certificate_pem, &response.ca_pem)?;
    let description = Description {
        node_id: response.node_id,
        role: response.role,
        zone_id: response.zone_id,
        zone_name: response.zone_name.clone(),
        deployment_id: response.deployment_id,
        node_listener: response.node_listener.clone(),
    };
    let text = serde_json::to_string_pretty(&description).expect("a description is plain data");
    files.save(key, &response.certificate_pem, &response.ca_pem, &text)?;
    Ok(())
}

enum Try {
    Done(Box<EnrollResponse>),
    Refused(String),
    Unfit,
    Later(String),
}

async fn try_enrol(http: &reqwest::Client, upstream: &str, request: &EnrollRequest) -> Try {
    let url = format!("{}{}", upstream.trim_end_matches('/'), public_paths::ENROLL);
    let mut response = match http.post(url).json(request).send().await {
        Ok(response) => response,
        Err(error) if error.is_builder() => return Try::Refused("the upstream address is no URL".into()),
        Err(error) => return Try::Later(root_cause(&error)),
    };
    let status = response.status();
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_ANSWER_BYTES => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return Try::Unfit,
            Ok(None) => break,
            Err(error) => return Try::Later(root_cause(&error)),
        }
    }
    if status.is_success() {
        return serde_json::from_slice(&body).map_or(Try::Unfit, |response| Try::Done(Box::new(response)));
    }
    let message = serde_json::from_slice::<WireError>(&body)
        .map_or_else(|_| format!("HTTP status {status}"), |refusal| refusal.error.message);
    if status.is_server_error() || status.as_u16() == 429 {
        Try::Later(message)
    } else {
        Try::Refused(message)
    }
}

/// The innermost cause: "connection refused" rather than "error sending request".
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn read_token(path: Option<&Path>) -> Result<String, JoinError> {
    let path = path.ok_or(JoinError::NoToken)?;
    let text = std::fs::read_to_string(path)
        .map_err(|source| JoinError::TokenFile { path: path.display().to_string(), source })?;
    Ok(text.trim().to_owned())
}

fn remove_token(section: &NodeSection) {
    if let Some(path) = &section.enroll_token_file
        && let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "the used enrolment token could not be removed");
    }
}
