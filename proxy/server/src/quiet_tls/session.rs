//! rustls's unbuffered connections, server's and client's, behind one small interface.

use rustls::{
    Error,
    client::UnbufferedClientConnection,
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic},
};

/// What a record adds to its contents at most: header, tag, content type, explicit nonce.
const RECORD_OVERHEAD: usize = 64;
const MAX_FRAGMENT: usize = 16 * 1024;

/// What to do once the session can send.
pub(crate) enum Action<'a> {
    Nothing,
    Encrypt(&'a [u8]),
    CloseNotify,
}

/// One advance of a session: what goes in beside the incoming bytes, and what comes out.
pub(crate) struct Step<'a> {
    /// Takes plaintext, in order.
    pub(super) sink: &'a mut dyn FnMut(&[u8]),
    /// Gets TLS bytes to be sent, in order.
    pub(super) outgoing: &'a mut Vec<u8>,
    pub(super) action: Action<'a>,
    /// Set when the other side has said that it sends no more.
    pub(super) peer_closed: &'a mut bool,
}

/// One end of a TLS connection.
pub(crate) trait Session: Unpin + Send + 'static {
    /// Takes whole records out of `incoming`: how many bytes are done with, and whether all went well.
    fn advance(&mut self, incoming: &mut [u8], step: &mut Step<'_>) -> (usize, Result<(), Error>);

    fn handshaking(&self) -> bool;
}

macro_rules! session {
    ($connection:ty) => {
        impl Session for $connection {
            fn advance(&mut self, incoming: &mut [u8], step: &mut Step<'_>) -> (usize, Result<(), Error>) {
                let mut done = 0;
                loop {
                    let UnbufferedStatus { discard, state } = self.process_tls_records(&mut incoming[done..]);
                    let ended = state.and_then(|state| handle(state, step)).transpose();
                    done += discard;
                    match ended {
                        None => {}
                        Some(Ok(())) => return (done, Ok(())),
                        Some(Err(error)) => {
                            // The alert that tells the other side; it is there before any more bytes are looked at.
                            let UnbufferedStatus { discard, state } =
                                self.process_tls_records(&mut incoming[done..]);
                            if let Ok(ConnectionState::EncodeTlsData(mut alert)) = state {
                                // An alert that cannot be written down leaves the error as it is.
                                let _ = encode(&mut alert, step.outgoing);
                            }
                            done += discard;
                            return (done, Err(error));
                        }
                    }
                }
            }

            fn handshaking(&self) -> bool {
                self.is_handshaking()
            }
        }
    };
}

session!(UnbufferedServerConnection);
session!(UnbufferedClientConnection);

/// Does what a state asks for; something when the session waits for more.
fn handle<D>(state: ConnectionState<'_, '_, D>, step: &mut Step<'_>) -> Result<Option<()>, Error> {
    match state {
        ConnectionState::ReadTraffic(mut traffic) => {
            while let Some(record) = traffic.next_record() {
                (step.sink)(record?.payload);
            }
            Ok(None)
        }
        ConnectionState::EncodeTlsData(mut data) => encode(&mut data, step.outgoing).map(|()| None),
        // `outgoing` goes to the socket before anything that comes later.
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(None)
        }
        ConnectionState::PeerClosed => {
            *step.peer_closed = true;
            Ok(None)
        }
        ConnectionState::WriteTraffic(traffic) => {
            let action = std::mem::replace(&mut step.action, Action::Nothing);
            act(traffic, action, step.outgoing).map(Some)
        }
        ConnectionState::BlockedHandshake | ConnectionState::Closed => Ok(Some(())),
        ConnectionState::ReadEarlyData(_) => Err(Error::General("early data was not offered".into())),
        _ => Err(Error::General("a state that was not asked for".into())),
    }
}

fn encode<D>(data: &mut EncodeTlsData<'_, D>, outgoing: &mut Vec<u8>) -> Result<(), Error> {
    let needed = match data.encode(&mut []) {
        Ok(_) => return Ok(()),
        Err(EncodeError::InsufficientSize(needed)) => needed.required_size,
        Err(EncodeError::AlreadyEncoded) => return Err(Error::General("it was encoded already".into())),
    };
    append(outgoing, needed, |room| data.encode(room).map_err(|error| Error::General(error.to_string())))
}

fn act<D>(mut traffic: WriteTraffic<'_, D>, action: Action<'_>, outgoing: &mut Vec<u8>) -> Result<(), Error> {
    let general = |error: EncryptError| Error::General(error.to_string());
    match action {
        Action::Nothing => Ok(()),
        Action::Encrypt(data) => {
            let records = data.len().div_ceil(MAX_FRAGMENT).max(1);
            // A key update may come before the data.
            let most = data.len() + (records + 2) * RECORD_OVERHEAD;
            append(outgoing, most, |room| traffic.encrypt(data, room).map_err(general))
        }
        Action::CloseNotify => {
            append(outgoing, 2 * RECORD_OVERHEAD, |room| traffic.queue_close_notify(room).map_err(general))
        }
    }
}

/// Makes room at the end of `outgoing` and keeps of it what was used.
fn append(
    outgoing: &mut Vec<u8>,
    room: usize,
    fill: impl FnOnce(&mut [u8]) -> Result<usize, Error>,
) -> Result<(), Error> {
    let start = outgoing.len();
    outgoing.resize(start + room, 0);
    let used = fill(&mut outgoing[start..]);
    outgoing.truncate(start + used.as_ref().map_or(0, |used| *used));
    used.map(|_| ())
}
