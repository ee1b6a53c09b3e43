//! A browser as far as a proxy can tell: bytes on a socket.

use std::net::SocketAddr;

use meridian_wire::{WireError, WireErrorBody};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::world::within;

pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

pub(crate) struct Browser {
    pub(crate) socket: TcpStream,
}

/// An HTTP answer, and the bytes that came with it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) rest: Vec<u8>,
}

impl Answer {
    pub(crate) fn error(&self) -> WireErrorBody {
        let envelope: WireError = serde_json::from_slice(&self.rest).unwrap();
        assert!(!envelope.error.request_id.is_empty());
        envelope.error
    }
}

/// A browser's upgrade request, with what it would send to any site.
pub(crate) fn upgrade(path: &str, protocols: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: work.example.org:8443\r\nOrigin: https://work.example.org\r\n\
         Cookie: meridian=a-secret-cookie\r\nAuthorization: Bearer a-secret-token\r\nX-Forwarded-For: 6.6.6.6\r\n\
         Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
         Sec-WebSocket-Protocol: {protocols}\r\n\r\n"
    )
}

impl Browser {
    pub(crate) async fn open(proxy: SocketAddr) -> Self {
        Self { socket: TcpStream::connect(proxy).await.unwrap() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Reads an answer's head, and the whole body unless it upgrades.
    pub(crate) async fn answer(&mut self) -> Answer {
        within("an answer", async {
            let mut bytes = Vec::new();
            let end = loop {
                let found = bytes.windows(4).position(|four| four == b"\r\n\r\n");
                if let Some(at) = found {
                    break at + 4;
                }
                let count = self.socket.read_buf(&mut bytes).await.unwrap();
                assert_ne!(count, 0, "the connection ended without an answer");
            };
            let mut rest = bytes.split_off(end);
            let head = String::from_utf8(bytes).unwrap();
            let status = head[9..12].parse().unwrap();
            if status != 101 {
                self.socket.read_to_end(&mut rest).await.unwrap();
            }
            Answer { status, head, rest }
        })
        .await
    }

    /// One request, one answer.
    pub(crate) async fn ask(proxy: SocketAddr, request: impl AsRef<[u8]>) -> Answer {
        let mut browser = Self::open(proxy).await;
        browser.send(request).await;
        browser.answer().await
    }

    /// Reads until `count` bytes are there.
    pub(crate) async fn read(&mut self, mut have: Vec<u8>, count: usize) -> Vec<u8> {
        within("the bytes", async {
            while have.len() < count {
                assert_ne!(self.socket.read_buf(&mut have).await.unwrap(), 0, "the stream ended early");
            }
            have
        })
        .await
    }
}
