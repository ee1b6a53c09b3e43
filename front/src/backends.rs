//! Addresses that serve the same, taken in turn; one that cannot be dialled is passed over.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use meridian_runtime::tune;
use tokio::{net::TcpStream, time::timeout};

use crate::bounds::DIAL_WAIT;

pub(crate) struct Backends {
    addresses: Vec<SocketAddr>,
    turn: AtomicUsize,
}

impl Backends {
    pub(crate) fn new(addresses: Vec<SocketAddr>) -> Arc<Self> {
        Arc::new(Self { addresses, turn: AtomicUsize::new(0) })
    }

    /// Dials one after the other until one answers.
    ///
    /// # Errors
    /// The last dial's.
    pub(crate) async fn dial(&self) -> io::Result<TcpStream> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for step in 0..self.addresses.len() {
            let address = self.addresses[turn.wrapping_add(step) % self.addresses.len()];
            match timeout(DIAL_WAIT, TcpStream::connect(address)).await {
                Ok(Ok(socket)) => {
                    tune(&socket)?;
                    return Ok(socket);
                }
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(failure)
    }
}
