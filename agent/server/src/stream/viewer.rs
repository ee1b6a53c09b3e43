//! The viewer's end of a stream: the WebSocket, and what waits to be sent on it.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Sink, StreamExt, stream::SplitSink, stream::SplitStream};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

/// An upgraded connection of a proxy's.
pub(crate) type Socket = TokioIo<Upgraded>;

const READ_BUFFER_BYTES: usize = 4 * 1024;

/// What is still to be sent. Its users bound how much they put in.
pub(super) struct Outgoing<S> {
    sink: SplitSink<WebSocketStream<S>, Message>,
    queue: VecDeque<Message>,
    dirty: bool,
}

/// What viewers say.
pub(super) type Incoming<S> = SplitStream<WebSocketStream<S>>;

/// Takes over an upgraded connection. No message is longer than `max_message_bytes`.
pub(super) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    max_message_bytes: usize,
) -> (Outgoing<S>, Incoming<S>) {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * max_message_bytes.max(256 * 1024))
        .max_message_size(Some(max_message_bytes))
        .max_frame_size(Some(max_message_bytes));
    let socket = WebSocketStream::from_raw_socket(socket, Role::Server, Some(config)).await;
    let (sink, incoming) = socket.split();
    (Outgoing { sink, queue: VecDeque::new(), dirty: false }, incoming)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Outgoing<S> {
    pub(super) fn push(&mut self, bytes: Bytes) {
        self.queue.push_back(Message::Binary(bytes));
    }

    /// Before everything that waits.
    pub(super) fn push_first(&mut self, bytes: Bytes) {
        self.queue.push_front(Message::Binary(bytes));
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && !self.dirty
    }

    /// Sends all that waits. Safe to drop: what was not sent stays.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|context| self.poll_flush(context)).await
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.queue.is_empty() {
            ready!(Pin::new(&mut self.sink).poll_ready(context))?;
            if let Some(message) = self.queue.pop_front() {
                self.dirty = true;
                Pin::new(&mut self.sink).start_send(message)?;
            }
        }
        ready!(Pin::new(&mut self.sink).poll_flush(context))?;
        self.dirty = false;
        Poll::Ready(Ok(()))
    }

    /// Sends what waits and a close, then hears the viewer out, within a limit: a socket that is closed with bytes unread is reset, and what was
    /// said last is lost with it.
    pub(super) async fn close(
        mut self,
        mut incoming: Incoming<S>,
        code: CloseCode,
        reason: &str,
        limit: Duration,
    ) {
        // A close frame's reason has room for 123 bytes.
        let mut end = reason.len().min(120);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let frame = CloseFrame { code, reason: reason[..end].into() };
        self.queue.push_back(Message::Close(Some(frame)));
        let farewell = async {
            self.flush().await?;
            while let Some(message) = incoming.next().await {
                message?;
            }
            Ok::<_, Error>(())
        };
        // The viewer may be gone already.
        let _ = timeout(limit, farewell).await;
    }
}
