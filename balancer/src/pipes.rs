//! Pipes for splice(2): few, shared by all connections, each held by one only while bytes are in it.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::metrics::gauge::Gauge;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// What a pipe is asked to hold; an unprivileged user who has many may get less, which works as well.
const PIPE_BYTES: usize = 256 * 1024;

/// The pipes of a balancer.
#[derive(Debug)]
pub(crate) struct Pipes {
    free: Mutex<Free>,
    most: usize,
    pub(crate) held: Gauge,
}

#[derive(Debug, Default)]
struct Free {
    pipes: Vec<Pipe>,
    /// Those that there are, free or held.
    made: usize,
}

#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) reader: OwnedFd,
    pub(crate) writer: OwnedFd,
}

/// A pipe that is held. It goes back when it is empty, and is closed when it is not: what is in it is nobody else's.
#[derive(Debug)]
pub(crate) struct Held {
    pipe: Option<Pipe>,
    pub(crate) filled: usize,
    pipes: Arc<Pipes>,
}

impl Pipes {
    pub(crate) fn new(most: usize, held: Gauge) -> Arc<Self> {
        Arc::new(Self { free: Mutex::default(), most, held })
    }

    /// An empty pipe; `None` when all are held, or no descriptor is left for another one.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Held> {
        let pipe = self.free_one().or_else(|| self.make())?;
        self.held.inc();
        Some(Held { pipe: Some(pipe), filled: 0, pipes: self.clone() })
    }

    fn free_one(&self) -> Option<Pipe> {
        self.lock().pipes.pop()
    }

    fn make(&self) -> Option<Pipe> {
        {
            let mut free = self.lock();
            if free.made >= self.most {
                return None;
            }
            free.made += 1;
        }
        let made = Pipe::new();
        if made.is_err() {
            self.lock().made -= 1;
        }
        made.ok()
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        // A smaller one moves less at once.
        let _ = fcntl_setpipe_size(&writer, PIPE_BYTES);
        Ok(Self { reader, writer })
    }
}

impl Held {
    pub(crate) fn pipe(&self) -> &Pipe {
        self.pipe.as_ref().expect("it is taken out only when this is dropped")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.pipes.held.dec();
        let mut free = self.pipes.lock();
        match self.pipe.take().filter(|_| self.filled == 0) {
            Some(pipe) => free.pipes.push(pipe),
            None => free.made -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_are_bounded_used_again_when_empty_and_closed_when_not() {
        let pipes = Pipes::new(2, Gauge::default());
        let (first, mut second) = (pipes.take().unwrap(), pipes.take().unwrap());
        assert!(pipes.take().is_none());
        assert_eq!(pipes.held.get(), 2);
        let count = || {
            let free = pipes.lock();
            (pipes.held.get(), free.pipes.len(), free.made)
        };
        drop(first);
        assert_eq!(count(), (1, 1, 2));
        second.filled = 1;
        drop(second);
        assert_eq!(count(), (0, 1, 1));
        assert!(pipes.take().is_some());
        assert!(Pipes::new(0, Gauge::default()).take().is_none());
    }
}
