//! A Web App node's own certificate. It holds the authority, so it signs for itself: at its start, and again at two thirds of the
//! certificate's life, since nodes that meet an expired one at the node listener are cut off. The key lives as long as the process.

use std::time::Duration;

use jiff::Timestamp;
use meridian_identity::{Authority, IdentityError, NodeKey, NodeTls, web_name};
use meridian_ids::NodeId;
use meridian_wire::WEB_SERVER_NAME;

use crate::state::AppState;

/// How often the certificate's age is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Key and certificate of this process.
pub struct OwnCertificate {
    node: NodeId,
    key: NodeKey,
    tls: NodeTls,
}

impl OwnCertificate {
    /// # Errors
    /// When the system has no randomness or the authority cannot sign.
    pub fn issue(authority: &Authority, node: NodeId, now: Timestamp) -> Result<Self, IdentityError> {
        let key = NodeKey::generate()?;
        let certificate = sign(authority, node, &key, now)?;
        let tls = NodeTls::new(&key, &certificate, authority.certificate_pem())?;
        Ok(Self { node, key, tls })
    }

    #[must_use]
    pub fn tls(&self) -> NodeTls {
        self.tls.clone()
    }

    #[must_use]
    pub fn public_point(&self) -> &[u8] {
        self.key.public_point()
    }

    /// Signs a new certificate when it is time to; connections that exist go on. Says whether it did.
    ///
    /// # Errors
    /// When the authority cannot sign; the old certificate stays.
    pub fn renew_if_due(&self, authority: &Authority, now: Timestamp) -> Result<bool, IdentityError> {
        if !self.tls.renewal_due(now) {
            return Ok(false);
        }
        self.tls.replace(&self.key, &sign(authority, self.node, &self.key, now)?)?;
        Ok(true)
    }

    /// Renews for as long as the tasks run.
    pub fn keep(self, state: &AppState) {
        let shared = state.clone();
        state.tasks.spawn_until_stop("own certificate", async move {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                match self.renew_if_due(&shared.deployment.authority, shared.clock.control_now()) {
                    Ok(true) => tracing::info!("the node's certificate is renewed"),
                    Ok(false) => {}
                    Err(error) => {
                        tracing::error!(%error, "the node's certificate is due and could not be renewed")
                    }
                }
            }
        });
    }
}

fn sign(authority: &Authority, node: NodeId, key: &NodeKey, now: Timestamp) -> Result<String, IdentityError> {
    let names = [WEB_SERVER_NAME.to_owned()];
    Ok(authority.issue(&key.request_pem()?, &web_name(node), &names, now)?.certificate_pem)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use meridian_identity::LIFETIME_DAYS;
    use meridian_ids::DeploymentId;

    use super::*;

    #[test]
    fn the_certificate_is_renewed_at_two_thirds_of_its_life_and_not_before() {
        meridian_identity::install_crypto_provider();
        let start = Timestamp::from_second(1_800_000_000).unwrap();
        let day = |day: i64| start + SignedDuration::from_hours(24 * day);
        let authority = Authority::generate(DeploymentId::generate(), start).unwrap();
        let own = OwnCertificate::issue(&authority, NodeId::generate(), start).unwrap();
        let tls = own.tls();
        assert!(!own.renew_if_due(&authority, day(LIFETIME_DAYS * 2 / 3 - 1)).unwrap());
        let due = LIFETIME_DAYS * 2 / 3;
        assert!(own.renew_if_due(&authority, day(due)).unwrap());
        assert!(!tls.renewal_due(day(due + 1)), "whoever holds the TLS has the new one");
        assert!(!own.renew_if_due(&authority, day(due + 1)).unwrap());
    }
}
