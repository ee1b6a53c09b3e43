//! Renewing the certificate at two thirds of its life, without cutting anything.
//!
//! The key stays: a renewal whose answer is lost, or that is not saved before a crash, then leaves nothing that does not fit together, and
//! signed calls in flight keep their meaning.

use jiff::{SignedDuration, Timestamp};
use meridian_wire::{RenewRequest, RenewResponse, node_paths};

use crate::{client::NodeClient, heartbeat::Causes, link::Link};

/// A renewal that failed is not tried again at every heartbeat.
const RETRY_EVERY: SignedDuration = SignedDuration::from_secs(60);

#[derive(Default)]
pub(crate) struct Renewal {
    tried_at: Option<Timestamp>,
}

impl Renewal {
    pub(crate) async fn renew_if_due(&mut self, client: &NodeClient, link: &mut Link) {
        let now = client.inner.clock.control_now();
        let tried = self.tried_at.is_some_and(|tried_at| now.duration_since(tried_at) < RETRY_EVERY);
        if !client.inner.tls.renewal_due(now) || tried {
            return;
        }
        self.tried_at = Some(now);
        match renew(client, link).await {
            Ok(()) => tracing::info!("the node's certificate is renewed"),
            Err(error) => {
                tracing::warn!(hop = "web", error = %Causes(error.as_ref()), "the certificate is due and could not be renewed yet");
            }
        }
    }
}

async fn renew(client: &NodeClient, link: &mut Link) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let inner = &client.inner;
    let request = RenewRequest { csr_pem: inner.key.request_pem()? };
    let response: RenewResponse = link.post(node_paths::RENEW, &request).await?;
    // Proven to fit before it is saved; the one in use stays otherwise.
    inner.tls.replace(&inner.key, &response.certificate_pem)?;
    let description = serde_json::to_string_pretty(&inner.description)?;
    let owner = client.clone();
    tokio::task::spawn_blocking(move || {
        let inner = &owner.inner;
        inner.files.save(&inner.key, &response.certificate_pem, &response.ca_pem, &description)
    })
    .await??;
    Ok(())
}
