//! Nodes that joined as real ones do: their certificates are the Web App's, their keys their own.

use std::sync::Arc;

use http::Method;
use meridian_identity::{NodeKey, NodeTls, sign_call};
use meridian_ids::{NodeId, ZoneId};
use meridian_model::NodeRole;
use meridian_runtime::{Clock, VERSION};
use meridian_wire::{AuthorizeRequest, EnrollRequest, EnrollResponse, public_paths};
use serde_json::{Value, json};

use super::client::{Call, Connection, call};

/// What every node says of where it is: nobody comes.
pub(super) const ADDRESS: &str = "127.0.0.1:1";

pub(super) struct Joined {
    pub(super) node: NodeId,
    pub(super) zone: ZoneId,
    pub(super) tls: NodeTls,
    key: Arc<NodeKey>,
}

impl Joined {
    /// Enrols a node of a zone, over a connection to the public listener.
    pub(super) async fn enroll(
        web: &mut Connection,
        administrator: &str,
        role: NodeRole,
        zone: &str,
    ) -> anyhow::Result<Self> {
        let body = serde_json::to_vec(&json!({"role": role, "zone": zone}))?;
        let asked = call(Method::POST, "/api/v1/nodes/enrollments", Some(administrator), Some(body))?;
        let made: Value = serde_json::from_slice(&web.ask(asked).await?)?;
        let key = NodeKey::generate()?;
        let request = EnrollRequest {
            token: made["token"].as_str().unwrap_or_default().to_owned(),
            name: format!("bench-{role}"),
            csr_pem: key.request_pem()?,
            address: ADDRESS.into(),
            version: VERSION.to_owned(),
        };
        let asked = call(Method::POST, public_paths::ENROLL, None, Some(serde_json::to_vec(&request)?))?;
        let answer: EnrollResponse = serde_json::from_slice(&web.ask(asked).await?)?;
        let zone = answer.zone_id.ok_or_else(|| anyhow::anyhow!("the node was given no zone"))?;
        let tls = NodeTls::new(&key, &answer.certificate_pem, &answer.ca_pem)?;
        Ok(Self { node: answer.node_id, zone, tls, key: Arc::new(key) })
    }

    /// A proxy's question about a ticket, signed.
    pub(super) fn question(&self, ticket: &str) -> anyhow::Result<Call> {
        let request = AuthorizeRequest {
            ticket: ticket.to_owned(),
            connection_nonce: "0".repeat(32),
            client_address: "192.0.2.1".into(),
        };
        let body = serde_json::to_vec(&request)?;
        let now = Clock::system().now();
        let signed = sign_call(&self.key, self.node, "POST", public_paths::AUTHORIZE, &body, now)?;
        let mut asked = call(Method::POST, public_paths::AUTHORIZE, None, Some(body))?;
        for (name, value) in signed.pairs() {
            asked.headers_mut().insert(name, value.parse()?);
        }
        Ok(asked)
    }
}
