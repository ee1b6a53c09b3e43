//! TLS sessions that a node remembers of the nodes it dials.
//!
//! The library's own memory keeps eight for a name. A session is good for one connection, so where hundreds of streams come back to an agent at
//! once, all but eight of them would pay for certificates and signatures on both sides again.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustls::{
    NamedGroup,
    client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue},
    pki_types::ServerName,
};

/// Nodes of which sessions are remembered.
const MAX_NAMES: usize = 256;
/// Sessions that are remembered of one node: some 300 bytes each.
const MAX_OF_NAME: usize = 256;

/// What is remembered of one node.
#[derive(Default)]
struct Of {
    group: Option<NamedGroup>,
    sessions: VecDeque<Tls13ClientSessionValue>,
}

#[derive(Default)]
pub(crate) struct Remembered(Mutex<HashMap<ServerName<'static>, Of>>);

impl Remembered {
    fn lock(&self) -> MutexGuard<'_, HashMap<ServerName<'static>, Of>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, name: ServerName<'static>, change: impl FnOnce(&mut Of)) {
        let mut all = self.lock();
        if all.len() >= MAX_NAMES && !all.contains_key(&name) {
            // Any other makes room: its next dial is a full handshake, no more.
            let other = all.keys().next().cloned();
            other.and_then(|other| all.remove(&other));
        }
        change(all.entry(name).or_default());
    }
}

impl std::fmt::Debug for Remembered {
    /// Sessions are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remembered").finish_non_exhaustive()
    }
}

impl ClientSessionStore for Remembered {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.change(name, |of| of.group = Some(group));
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.lock().get(&name.to_owned())?.group
    }

    // Nodes speak TLS 1.3 with one another.
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, name: ServerName<'static>, session: Tls13ClientSessionValue) {
        self.change(name, |of| {
            if of.sessions.len() >= MAX_OF_NAME {
                of.sessions.pop_front();
            }
            of.sessions.push_back(session);
        });
    }

    /// The latest, which the other side forgets last.
    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.lock().get_mut(name)?.sessions.pop_back()
    }
}
