//! `binary`: the bytes of one RFB connection, as any VNC-over-WebSocket client speaks it.

use futures_util::StreamExt;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until},
};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use super::{
    FAREWELL_LIMIT, Service, Stop,
    display::{Display, Turn, wait_and_open},
    viewer::{self, Incoming, Outgoing},
};
use crate::metrics::{Way, WayLabel};

/// A client may send a whole cut text, which is dropped, in one message.
const MAX_MESSAGE_BYTES: usize = (1 << 20) + 64 * 1024;
/// Messages on their way to the viewer; TCP holds back the rest, and with it the display.
const MAX_OUTGOING: usize = 4;
/// What a display may leave unread before its viewer is not read any more.
const MAX_WAITING: usize = 128 * 1024;

pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(socket: S, service: Service) {
    let (mut outgoing, mut incoming) = viewer::open(socket, MAX_MESSAGE_BYTES).await;
    let opened = tokio::select! {
        opened = wait_and_open(
            &service.sessions,
            service.grant.sub,
            &service.directory,
            service.workspace_uid,
            service.grant.policy,
            service.streams.activity(&service.grant),
            service.limits.display_wait,
        ) => opened,
        stop = stopped(&service) => Err(words(&stop)),
    };
    let mut display = match opened {
        Ok(display) => display,
        Err(reason) => return outgoing.close(incoming, CloseCode::Again, &reason, FAREWELL_LIMIT).await,
    };
    let (code, reason) = relay(&service, &mut display, &mut outgoing, &mut incoming).await;
    display.release().await;
    outgoing.close(incoming, code, &reason, FAREWELL_LIMIT).await;
}

async fn relay<S: AsyncRead + AsyncWrite + Unpin>(
    service: &Service,
    display: &mut Display,
    outgoing: &mut Outgoing<S>,
    incoming: &mut Incoming<S>,
) -> (CloseCode, String) {
    let (to_viewer, from_viewer) = (
        service.metrics.bytes.get_or_create_owned(&WayLabel { way: Way::ToViewer }),
        service.metrics.bytes.get_or_create_owned(&WayLabel { way: Way::FromViewer }),
    );
    // Such clients do not ping; a path that takes no bytes for this long while some wait is broken.
    let mut stuck_at = None;
    loop {
        if outgoing.is_idle() {
            stuck_at = None;
        } else {
            stuck_at.get_or_insert_with(|| Instant::now() + super::SILENCE_LIMIT);
        }
        let want_bytes = outgoing.waiting() < MAX_OUTGOING;
        tokio::select! {
            stop = stopped(service) => return (CloseCode::Away, words(&stop)),
            flushed = outgoing.flush(), if !outgoing.is_idle() => {
                if flushed.is_err() {
                    return (CloseCode::Normal, String::new());
                }
            }
            message = incoming.next(), if display.waiting() < MAX_WAITING => match message {
                Some(Ok(Message::Binary(bytes))) => {
                    from_viewer.inc_by(bytes.len() as u64);
                    if let Err(error) = display.push(&bytes) {
                        return (CloseCode::Policy, error.to_string());
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Text(_) | Message::Frame(_))) => {
                    return (CloseCode::Unsupported, "only binary messages are understood".into());
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return (CloseCode::Normal, String::new()),
            },
            turn = display.turn(want_bytes) => match turn {
                Ok(Turn::Wrote) => {}
                Ok(Turn::Read(bytes)) if !bytes.is_empty() => {
                    to_viewer.inc_by(bytes.len() as u64);
                    outgoing.push(bytes.freeze());
                }
                Ok(Turn::Read(_)) | Err(_) => return (CloseCode::Again, "the display closed".into()),
            },
            () = sleep_until(stuck_at.unwrap_or_else(Instant::now)), if stuck_at.is_some() => {
                return (CloseCode::Away, "the viewer takes nothing any more".into());
            }
        }
    }
}

pub(super) async fn stopped(service: &Service) -> Stop {
    let mut stop = service.ticket.stop.clone();
    let told = stop.wait_for(Option::is_some).await;
    told.ok().and_then(|stop| stop.clone()).unwrap_or(Stop::Draining)
}

pub(super) fn words(stop: &Stop) -> String {
    match stop {
        Stop::Superseded => "a later connection took the stream".into(),
        Stop::Ended(reason) => format!("the session has ended: {reason}"),
        Stop::Revoked => "access to the session was taken away".into(),
        Stop::Idle => "nobody used the session for a while; the workspace goes on".into(),
        Stop::Draining => "this agent is restarting; the workspace goes on".into(),
    }
}
