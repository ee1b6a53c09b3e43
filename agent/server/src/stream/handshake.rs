//! How every path of `meridian.v1` begins: challenge, attach, proof. Nothing of the stream is touched before the viewer has proved that the
//! grant was made for it, so whoever else has seen the grant takes nothing away from it.

use bytes::Bytes;
use futures_util::StreamExt;
use meridian_runtime::random_bytes;
use meridian_stream::{Attach, Challenge, Code, Frame, MAX_MESSAGE_BYTES};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::{
    Service,
    binary::stopped,
    meridian::End,
    path::Path,
    viewer::{self, Incoming, Outgoing, Socket},
};

/// A path whose viewer has proved itself, on its way to the stream's owner.
pub(crate) struct Arrival {
    pub(super) service: Service,
    pub(super) attach: Attach,
    pub(super) path: Path,
}

impl Arrival {
    /// Turns the viewer away, without keeping anybody waiting.
    pub(super) fn refuse(self, code: Code, text: String) {
        let Self { service, path, .. } = self;
        service.tasks.spawn("farewell", path.refuse(code, text));
    }
}

/// Challenges a viewer; none where it did not answer as it should and was told so.
pub(super) async fn greet(socket: Socket, service: Service) -> Option<Arrival> {
    let (mut outgoing, mut incoming) = viewer::open(socket, MAX_MESSAGE_BYTES).await;
    let challenge = Challenge::new(random_bytes(), service.grant.stream, service.grant.jkt.clone());
    outgoing.push(challenge.frame().encode());
    let judged = hear_attach(&service, &challenge, &mut outgoing, &mut incoming).await;
    let path = Path::new(outgoing, incoming);
    match judged {
        Ok(attach) => return Some(Arrival { service, attach, path }),
        Err(End { code: Some(code), text }) => path.refuse(code, text).await,
        Err(End { code: None, .. }) => path.leave().await,
    }
    None
}

async fn hear_attach(
    service: &Service,
    challenge: &Challenge,
    outgoing: &mut Outgoing<Socket>,
    incoming: &mut Incoming<Socket>,
) -> Result<Attach, End> {
    let first = tokio::select! {
        first = timeout(service.limits.attach_wait, first_message(outgoing, incoming)) => first,
        stop = stopped(service) => return Err(End::of(&stop)),
    };
    let message = match first {
        Ok(Some(message)) => message,
        Ok(None) => return Err(End::gone()),
        // A slow line, or a busy machine, breaks no rule: a viewer that is told nothing tries again.
        Err(_) => return Err(End::gone()),
    };
    let frame = Frame::decode(message).map_err(|error| End::told(Code::Protocol, error.to_string()))?;
    challenge.judge(frame).map_err(|error| End::told(error.code(), error.to_string()))
}

async fn first_message(outgoing: &mut Outgoing<Socket>, incoming: &mut Incoming<Socket>) -> Option<Bytes> {
    outgoing.flush().await.ok()?;
    loop {
        match incoming.next().await? {
            Ok(Message::Binary(bytes)) => return Some(bytes),
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            Ok(Message::Text(_) | Message::Close(_) | Message::Frame(_)) | Err(_) => return None,
        }
    }
}
