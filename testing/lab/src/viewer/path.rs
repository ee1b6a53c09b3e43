//! One WebSocket between the viewer and an entry.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_tungstenite::tungstenite::Message;

use super::{core::PathId, entry::Socket, running::Event};

/// A WebSocket that the viewer is done with ends within this time.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Carries messages both ways until the other side closes, or the viewer is done with it; what it said before then is sent.
pub(super) async fn carry(
    socket: Socket,
    id: PathId,
    mut queue: mpsc::Receiver<Bytes>,
    events: mpsc::Sender<Event>,
    began: Instant,
) {
    let (mut writer, mut reader) = socket.split();
    let read = async {
        let mut listens = true;
        while let Some(Ok(message)) = reader.next().await {
            let at: Duration = began.elapsed();
            match message {
                Message::Binary(bytes) if listens => {
                    listens = events.send(Event::Message(id, bytes, at)).await.is_ok();
                }
                Message::Close(_) => break,
                Message::Binary(_)
                | Message::Text(_)
                | Message::Ping(_)
                | Message::Pong(_)
                | Message::Frame(_) => {}
            }
        }
        // A viewer that ended need not know.
        let _ = events.send(Event::Closed(id)).await;
    };
    let write = async {
        while let Some(message) = queue.recv().await {
            if writer.send(Message::Binary(message)).await.is_err() {
                // What broke is said by the reading half too, after what still arrived.
                return std::future::pending().await;
            }
        }
        // Whoever drops a socket with something unread takes back what was said last.
        let _ = timeout(CLOSE_WITHIN, writer.close()).await;
    };
    tokio::pin!(read);
    tokio::select! {
        () = &mut read => {}
        () = write => {
            let _ = timeout(CLOSE_WITHIN, read).await;
        }
    }
}
