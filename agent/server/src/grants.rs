//! Stream grants and resume passes: each is verified here, whoever presents it. A grant is taken once; a pass as often as its viewer proves
//! to have the stream's key, which is what the stream's handshake is for.
//!
//! Which grants were used is kept in memory, so a restarted agent would not know them. It therefore takes no grant that was issued
//! before it started (nor in that very second): whoever holds one asks for another.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use meridian_identity::Peer;
use meridian_ids::{GrantId, SessionId};
use meridian_model::{Policy, Transport};
use meridian_node::NodeClient;
use meridian_runtime::Clock;
use meridian_ticket::{Grant, LEEWAY_S, TokenError};

use crate::refusal::Refusal;

/// More opened streams than any agent sees within a grant's life.
const MAX_USED: usize = 65_536;

/// Heartbeats come every two seconds: longer silence is an outage.
const CONTACT_WITHIN: SignedDuration = SignedDuration::from_secs(10);

pub(crate) struct Grants {
    clock: Clock,
    started_at: Timestamp,
    /// Used grants, and until when they would be good.
    used: Mutex<HashMap<GrantId, i64>>,
}

impl Grants {
    pub(crate) fn new(clock: Clock) -> Self {
        let started_at = clock.now();
        Self { clock, started_at, used: Mutex::default() }
    }

    /// Judges a grant that `peer` presents for `session`, and uses it up.
    pub(crate) fn redeem(
        &self,
        token: &str,
        client: &NodeClient,
        peer: &Peer,
        session: SessionId,
    ) -> Result<Grant, Refusal> {
        let now = self.clock.control_now();
        let node = client.name();
        let keys = client.keys();
        let (mut grant, once) = match keys.check_grant(token, node.node, now) {
            // A pass says the same of a stream, for another audience.
            Err(no_grant @ (TokenError::WrongAudience | TokenError::Malformed)) => {
                let zone = node.zone.ok_or(Refusal::Peer)?;
                let pass = keys.check_pass(token, zone, now).map_err(|no_pass| match no_pass {
                    TokenError::Malformed => refused(no_grant),
                    TokenError::UnknownKey
                    | TokenError::Signature
                    | TokenError::Expired
                    | TokenError::NotYetValid
                    | TokenError::WrongAudience => refused(no_pass),
                })?;
                if pass.agent != node.node {
                    return Err(Refusal::Grant("it is for another agent".into()));
                }
                check_outage(client, now)?;
                (pass.as_grant(peer.node), false)
            }
            checked => (checked.map_err(refused)?, true),
        };
        if grant.iss != client.deployment_id() {
            return Err(Refusal::Grant("it is of another deployment".into()));
        }
        if grant.sub != session {
            return Err(Refusal::Grant("it is for another session".into()));
        }
        if grant.proxy != peer.node {
            return Err(Refusal::Grant("it was given to another proxy".into()));
        }
        if is_revoked(client, &grant) {
            return Err(Refusal::Revoked);
        }
        if let Some(watch) = grant.watch {
            if now.as_second() >= watch.until {
                return Err(Refusal::Grant("its time to look on is over".into()));
            }
            if grant.transport != Transport::MeridianV1 {
                return Err(Refusal::Grant("nobody looks on by plain RFB".into()));
            }
            // Whatever it says: nothing of somebody who looks on reaches the workspace.
            grant.policy = Policy::ONLOOKER;
        }
        if once {
            self.check_start(&grant, now)?;
            self.take(&grant, now)?;
        }
        Ok(grant)
    }

    /// Refuses what may have been used before this agent started.
    fn check_start(&self, grant: &Grant, now: Timestamp) -> Result<(), Refusal> {
        // The start in control-plane time, whose difference may only have been learnt since.
        let running = self.clock.now().duration_since(self.started_at);
        if grant.iat.saturating_mul(1000) < (now - running).as_millisecond() {
            return Err(Refusal::Restarted);
        }
        Ok(())
    }

    fn take(&self, grant: &Grant, now: Timestamp) -> Result<(), Refusal> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= MAX_USED {
            used.retain(|_, until| *until >= now.as_second());
        }
        if used.len() >= MAX_USED {
            return Err(Refusal::Busy);
        }
        match used.insert(grant.jti, grant.exp.saturating_add(LEEWAY_S)) {
            None => Ok(()),
            Some(_) => Err(Refusal::Grant("it was used already".into())),
        }
    }
}

fn refused(error: TokenError) -> Refusal {
    Refusal::Grant(error.to_string())
}

/// Without the control plane, streams are resumed for as long as the zone's `outage_grace` says, from the last contact on. The
/// last contact outlives the agent's restart.
fn check_outage(client: &NodeClient, now: Timestamp) -> Result<(), Refusal> {
    let settings = client.settings();
    let settings = settings.borrow();
    let zone = settings.as_ref().and_then(|settings| settings.zone.as_ref());
    let grace = zone.map_or(0, |zone| zone.outage_grace_s);
    let silent = client.last_contact().map(|contact| now.duration_since(contact));
    if within_grace(silent, grace) { Ok(()) } else { Err(Refusal::Outage) }
}

/// Whether a silence of the control plane is one that resumes may outlast.
fn within_grace(silent: Option<SignedDuration>, grace_s: u32) -> bool {
    // Between two heartbeats there is always some.
    let grace = SignedDuration::from_secs(i64::from(grace_s)).max(CONTACT_WITHIN);
    silent.is_some_and(|silent| silent <= grace)
}

/// Whether a grant of that second is older than a cut.
pub(crate) fn is_before(issued_s: i64, cut: Timestamp) -> bool {
    Timestamp::from_second(issued_s).is_ok_and(|issued| issued < cut)
}

/// Whether a cut names the grant, or its looking on is over. A grant's time is in whole seconds, rounded down: one of the cut's own second is cut too.
pub(crate) fn is_revoked(client: &NodeClient, grant: &Grant) -> bool {
    let settings = client.settings();
    let settings = settings.borrow();
    settings.iter().any(|settings| {
        grant.watch.is_some_and(|watch| settings.watches_over.contains(&watch.id))
            || settings.revocations.iter().any(|revocation| {
                revocation.session_id == grant.sub && is_before(grant.iat, revocation.issued_before)
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zones_grace_bounds_the_resumes_of_an_outage() {
        let seconds = |seconds| Some(SignedDuration::from_secs(seconds));
        assert!(within_grace(seconds(3600), 3600));
        assert!(!within_grace(seconds(3601), 3600));
        assert!(within_grace(seconds(5), 0), "two heartbeats are no outage");
        assert!(!within_grace(seconds(11), 0), "a zone with none accepts the loss of resumes");
        assert!(!within_grace(None, 3600), "an agent that never heard of it");
    }
}
