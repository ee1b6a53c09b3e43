//! Finding a backend that answers before the client notices.
//!
//! The backends are dialled in the rule's order. One that fails is followed by the next at once; one that is silent for a
//! while is joined by the next, and the first that answers has the connection; the others are closed. All of it is bounded: by
//! time, and by how many are dialled.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use meridian_runtime::tune;
use rustix::io::Errno;
use tokio::{net::TcpStream, time::sleep};

use crate::{
    backend::{Backend, Place},
    metrics::DialEnd,
    rule::Rule,
};

/// The bounds of one connection's dials.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DialLimits {
    /// For all of them together.
    pub(crate) budget: Duration,
    /// After how long without an answer the next one is dialled too; zero: only after a failure.
    pub(crate) second_after: Duration,
    pub(crate) most: usize,
}

/// A dialled backend, counted as busy until the place is dropped.
pub(crate) struct Dialled {
    pub(crate) socket: TcpStream,
    pub(crate) backend: Arc<Backend>,
    pub(crate) place: Place,
}

/// Dials until one answers; `None` when none does within the limits.
pub(crate) async fn dial(rule: &Rule, order: Vec<usize>, limits: DialLimits) -> Option<Dialled> {
    let mut waiting = order.into_iter().take(limits.most);
    let expired = AtomicBool::new(false);
    let mut flying = FuturesUnordered::new();
    let budget = sleep(limits.budget);
    tokio::pin!(budget);
    loop {
        match waiting.next() {
            Some(index) => flying.push(one(rule, &rule.entries[index].backend, &expired)),
            None if flying.is_empty() => return None,
            None => {}
        }
        let may_join = waiting.len() > 0 && !limits.second_after.is_zero();
        tokio::select! {
            biased;
            Some(answered) = flying.next() => if answered.is_some() { return answered },
            () = &mut budget => {
                // What is flying has had all the time there was: a failure, unlike losing to a quicker one.
                expired.store(true, Ordering::Relaxed);
                return None;
            }
            () = sleep(limits.second_after), if may_join => {}
        }
    }
}

async fn one(rule: &Rule, backend: &Arc<Backend>, expired: &AtomicBool) -> Option<Dialled> {
    let place = backend.take_place();
    let mut flight = Flight { rule, backend, expired, landed: false };
    let dialled =
        TcpStream::connect(&backend.address).await.and_then(|socket| tune(&socket).map(|()| socket));
    flight.landed = true;
    match dialled {
        Ok(socket) => {
            rule.note_dial(backend, DialEnd::Answered, "");
            Some(Dialled { socket, backend: backend.clone(), place })
        }
        Err(error) => {
            let end = if is_local(&error) { DialEnd::Local } else { DialEnd::Failed };
            rule.note_dial(backend, end, &error.to_string());
            None
        }
    }
}

/// A dial under way; when it is given up, it is counted by why.
struct Flight<'a> {
    rule: &'a Rule,
    backend: &'a Backend,
    expired: &'a AtomicBool,
    landed: bool,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        match (self.landed, self.expired.load(Ordering::Relaxed)) {
            (true, _) => {}
            (false, true) => {
                self.rule.note_dial(self.backend, DialEnd::Failed, "no answer to a dial in time")
            }
            (false, false) => self.rule.note_dial(self.backend, DialEnd::Lost, ""),
        }
    }
}

/// Whether an error is this machine's own want of descriptors, ports or memory, which says nothing of the backend.
pub(crate) fn is_local(error: &io::Error) -> bool {
    const OURS: [Errno; 5] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| OURS.iter().any(|errno| errno.raw_os_error() == code))
}
