//! Which TLS handshake goes on next.
//!
//! When thousands of browsers come at once, handshakes that all advance together all end late: after the browsers have given up and dialled
//! again. So only some go on at a time, and the others wait before their first byte is read, which costs next to nothing.
//!
//! The latest comes first. Whoever has waited long is about to give up, or has dialled again; and a flood of connections that begin a handshake
//! and then say nothing delays a browser only by those that come after it. A turn ends with the handshake, and without it after a while: a
//! browser on a slow line keeps nobody waiting.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread::available_parallelism,
    time::Duration,
};

use tokio::sync::oneshot;

/// Handshakes at a time for each processor: enough that it has work while others wait for their browsers.
const FOR_EACH_PROCESSOR: usize = 16;
/// How long a handshake keeps its turn.
pub(crate) const TURN: Duration = Duration::from_millis(300);
/// Waiting ones that went away are swept out when so many are there, and again when there are twice as many.
const SWEPT_FROM: usize = 64;

/// The handshakes of one entrance.
#[derive(Debug)]
pub(crate) struct Handshakes {
    line: Mutex<Line>,
}

#[derive(Debug)]
struct Line {
    free: usize,
    /// The latest is last.
    waiting: Vec<oneshot::Sender<Turn>>,
    swept_at: usize,
}

/// The right to go on. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    /// None once it was handed back.
    of: Option<Arc<Handshakes>>,
}

impl Handshakes {
    pub(crate) fn new() -> Arc<Self> {
        let processors = available_parallelism().map_or(1, usize::from);
        Self::at_once(processors * FOR_EACH_PROCESSOR)
    }

    fn at_once(free: usize) -> Arc<Self> {
        Arc::new(Self { line: Mutex::new(Line { free, waiting: Vec::new(), swept_at: SWEPT_FROM }) })
    }

    /// Waits for a turn. A caller who stops waiting is passed over.
    pub(crate) async fn turn(self: &Arc<Self>) -> Turn {
        let called = {
            let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
            if line.free > 0 {
                line.free -= 1;
                return Turn { of: Some(self.clone()) };
            }
            line.wait()
        };
        called.await.expect("the line lives as long as those who wait in it")
    }

    /// Hands a turn to the latest who still waits.
    fn pass_on(self: Arc<Self>) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let mut turn = Turn { of: Some(self.clone()) };
        while let Some(latest) = line.waiting.pop() {
            match latest.send(turn) {
                Ok(()) => return,
                Err(refused) => turn = refused,
            }
        }
        turn.of = None;
        line.free += 1;
    }
}

impl Line {
    fn wait(&mut self) -> oneshot::Receiver<Turn> {
        if self.waiting.len() >= self.swept_at {
            self.waiting.retain(|waiting| !waiting.is_closed());
            self.swept_at = (self.waiting.len() * 2).max(SWEPT_FROM);
        }
        let (call, called) = oneshot::channel();
        self.waiting.push(call);
        called
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(handshakes) = self.of.take() {
            handshakes.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_latest_goes_first_and_whoever_left_is_passed_over() {
        let handshakes = Handshakes::at_once(1);
        let first = handshakes.turn().await;
        let mut waiting: Vec<_> = (0..3)
            .map(|_| {
                Box::pin({
                    let handshakes = handshakes.clone();
                    async move { handshakes.turn().await }
                })
            })
            .collect();
        for waiting in &mut waiting {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        drop(waiting.remove(1));
        drop(first);
        let latest = waiting.remove(1).now_or_never().expect("the latest");
        assert!(waiting[0].as_mut().now_or_never().is_none());
        drop(latest);
        drop(waiting.remove(0).now_or_never().expect("the oldest, at last"));
        drop(handshakes.turn().now_or_never().expect("nobody is there any more"));
    }

    #[tokio::test]
    async fn a_turn_that_comes_too_late_for_its_owner_is_not_lost() {
        let handshakes = Handshakes::at_once(1);
        let first = handshakes.turn().await;
        let mut waiting = Box::pin(handshakes.turn());
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        // It was called, and leaves without having looked.
        drop(waiting);
        drop(handshakes.turn().now_or_never().expect("free again"));
    }

    #[tokio::test]
    async fn those_who_left_take_no_room() {
        let handshakes = Handshakes::at_once(1);
        let _first = handshakes.turn().await;
        for _ in 0..10 * SWEPT_FROM {
            assert!(handshakes.turn().now_or_never().is_none());
        }
        assert!(handshakes.line.lock().unwrap().waiting.len() <= SWEPT_FROM);
    }
}
