//! Stream grants: each is verified here, whoever presents it, and taken once.
//!
//! Which grants were used is kept in memory, so a restarted agent would not know them. It therefore takes no grant that was issued
//! before it started (nor in that very second): whoever holds one asks for another.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use meridian_identity::Peer;
use meridian_ids::{GrantId, SessionId};
use meridian_node::NodeClient;
use meridian_runtime::Clock;
use meridian_ticket::{Grant, LEEWAY_S};

use crate::refusal::Refusal;

/// More opened streams than any agent sees within a grant's life.
const MAX_USED: usize = 65_536;

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
        let grant = client
            .keys()
            .check_grant(token, client.name().node, now)
            .map_err(|error| Refusal::Grant(error.to_string()))?;
        if grant.iss != client.deployment_id() {
            return Err(Refusal::Grant("it is of another deployment".into()));
        }
        if grant.sub != session {
            return Err(Refusal::Grant("it is for another session".into()));
        }
        if grant.proxy != peer.node {
            return Err(Refusal::Grant("it was given to another proxy".into()));
        }
        // The start in control-plane time, whose difference may only have been learnt since.
        let running = self.clock.now().duration_since(self.started_at);
        if grant.iat.saturating_mul(1000) < (now - running).as_millisecond() {
            return Err(Refusal::Restarted);
        }
        if is_revoked(client, &grant) {
            return Err(Refusal::Revoked);
        }
        self.take(&grant, now)?;
        Ok(grant)
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

/// Whether a grant of that second is older than a cut.
pub(crate) fn is_before(issued_s: i64, cut: Timestamp) -> bool {
    Timestamp::from_second(issued_s).is_ok_and(|issued| issued < cut)
}

/// Whether a cut names the grant. Its time is in whole seconds, rounded down: one of the cut's own second is cut too.
pub(crate) fn is_revoked(client: &NodeClient, grant: &Grant) -> bool {
    let settings = client.settings();
    let settings = settings.borrow();
    settings.iter().flat_map(|settings| &settings.revocations).any(|revocation| {
        revocation.session_id == grant.sub && is_before(grant.iat, revocation.issued_before)
    })
}
