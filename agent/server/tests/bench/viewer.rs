//! Viewers: the least that each subprotocol asks of one.

use std::collections::VecDeque;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use meridian_ids::StreamId;
use meridian_stream::{
    Attach, Channel, Code, Frame, Piece, RecordReader, Verdict, ViewerKey, attach_text, record_header,
};
use tokio::{io::AsyncWriteExt, time::timeout};
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};

use super::{LIMIT, Socket};

/// A VNC client over `binary`.
pub(crate) struct Plain {
    pub(crate) socket: Socket,
    have: VecDeque<u8>,
}

impl Plain {
    pub(crate) fn new(socket: Socket) -> Self {
        Self { socket, have: VecDeque::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.socket.send(Message::Binary(Bytes::copy_from_slice(bytes))).await.unwrap();
    }

    pub(crate) async fn read(&mut self, length: usize) -> Vec<u8> {
        while self.have.len() < length {
            match timeout(LIMIT, self.socket.next()).await.unwrap() {
                Some(Ok(Message::Binary(bytes))) => self.have.extend(bytes),
                other => panic!("no bytes but {other:?}"),
            }
        }
        self.have.drain(..length).collect()
    }

    /// The RFB handshake; the size of the desktop.
    pub(crate) async fn shake_hands(&mut self) -> (u16, u16) {
        assert_eq!(self.read(12).await, b"RFB 003.008\n");
        self.send(b"RFB 003.008\n").await;
        assert_eq!(self.read(2).await, [1, 1]);
        self.send(&[1]).await;
        assert_eq!(self.read(4).await, [0; 4]);
        self.send(&[0]).await;
        let init = self.read(24).await;
        self.read(usize::from(init[23])).await;
        (u16::from_be_bytes([init[0], init[1]]), u16::from_be_bytes([init[2], init[3]]))
    }

    /// Asks for a frame and waits for it.
    pub(crate) async fn frame(&mut self, (width, height): (u16, u16)) -> Vec<u8> {
        self.send(&update_request()).await;
        assert_eq!(self.read(4).await, [0, 0, 0, 1]);
        self.read(12).await;
        self.read(usize::from(width) * usize::from(height) * 4).await
    }

    /// What the other side closed with.
    pub(crate) async fn closed(&mut self) -> Option<CloseFrame> {
        loop {
            match timeout(LIMIT, self.socket.next()).await.unwrap() {
                Some(Ok(Message::Binary(_))) => {}
                Some(Ok(Message::Close(frame))) => return frame,
                other => panic!("no close but {other:?}"),
            }
        }
    }
}

pub(crate) fn update_request() -> [u8; 10] {
    [3, 0, 0, 0, 0, 0, 0, 64, 0, 48]
}

pub(crate) fn key_event(down: bool) -> [u8; 8] {
    [4, u8::from(down), 0, 0, 0, 0, 0, 0x61]
}

/// What a `meridian.v1` viewer heard.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Display(Vec<u8>),
    Record(Channel, String),
    Frame(Frame),
    Closed,
}

/// A `meridian.v1` viewer.
pub(crate) struct Viewer {
    pub(crate) socket: Socket,
    /// All that it ever wrote, and how much of that it sent.
    written: Vec<u8>,
    sent: u64,
    pub(crate) received: u64,
    /// Its latest ATTACH, as it went over the wire.
    pub(crate) said_to_attach: Bytes,
    records: RecordReader,
    heard: VecDeque<Heard>,
    display: VecDeque<u8>,
}

/// A key that a page made.
pub(crate) struct PageKey {
    key: EcdsaKeyPair,
    point: [u8; 65],
}

impl PageKey {
    pub(crate) fn new() -> Self {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
        let point = key.public_key().as_ref().try_into().unwrap();
        Self { key, point }
    }

    pub(crate) fn thumbprint(&self) -> Option<String> {
        meridian_ticket::p256_thumbprint(&self.point)
    }

    fn sign(&self, nonce: &[u8; 32], stream: StreamId, number: u64, received: u64) -> ViewerKey {
        let text = attach_text(nonce, stream, number, received);
        let signature = self.key.sign(&SystemRandom::new(), &text).unwrap();
        ViewerKey { point: self.point, signature: signature.as_ref().try_into().unwrap() }
    }
}

impl Viewer {
    /// Answers the challenge; the verdict, or why not.
    pub(crate) async fn attach(
        socket: Socket,
        number: u64,
        key: Option<&PageKey>,
    ) -> Result<(Self, Verdict), Code> {
        let mut viewer = Self {
            socket,
            written: Vec::new(),
            sent: 0,
            received: 0,
            said_to_attach: Bytes::new(),
            records: RecordReader::default(),
            heard: VecDeque::new(),
            display: VecDeque::new(),
        };
        let verdict = viewer.introduce(number, key).await?;
        Ok((viewer, verdict))
    }

    /// Goes on over another path; the verdict, or why not. What the agent lacks is sent again.
    pub(crate) async fn reattach(
        &mut self,
        socket: Socket,
        number: u64,
        key: &PageKey,
    ) -> Result<Verdict, Code> {
        self.socket = socket;
        self.introduce(number, Some(key)).await
    }

    /// Answers the challenge on the present path.
    pub(crate) async fn introduce(&mut self, number: u64, key: Option<&PageKey>) -> Result<Verdict, Code> {
        let Frame::Challenge { nonce, stream } = self.next_frame().await.unwrap() else {
            panic!("no challenge");
        };
        let received = self.received;
        let key = key.map(|key| key.sign(&nonce, stream, number, received));
        self.said_to_attach = Frame::Attach(Attach { number, received, key }).encode();
        self.socket.send(Message::Binary(self.said_to_attach.clone())).await.unwrap();
        let answer = self.next_frame().await.unwrap();
        if let Frame::Refused { code, .. } = answer {
            return Err(code);
        }
        let Frame::Attached { verdict, received, .. } = answer else {
            panic!("neither attached nor refused: {answer:?}");
        };
        if verdict == Verdict::Resumed {
            assert!(received <= self.sent);
            self.sent = received;
            self.send_frame(Frame::Ack { received: self.received }).await;
            self.send_written().await;
        } else {
            self.written.clear();
            self.heard.clear();
            self.display.clear();
            (self.sent, self.received, self.records) = (0, 0, RecordReader::default());
        }
        Ok(verdict)
    }

    /// Breaks the path in the middle of a message of its own.
    pub(crate) async fn cut(&mut self) {
        // The head of a masked frame of 64 KiB, and a little of it.
        let torn = [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4, 5, 6];
        let _ = self.socket.get_mut().write_all(&torn).await;
        let _ = self.socket.get_mut().flush().await;
        let _ = self.socket.get_mut().get_mut().0.shutdown().await;
    }

    pub(crate) async fn send_frame(&mut self, frame: Frame) {
        self.socket.send(Message::Binary(frame.encode())).await.unwrap();
    }

    pub(crate) async fn send(&mut self, channel: Channel, payload: &[u8]) {
        self.write(channel, payload);
        self.send_written().await;
    }

    /// Writes without sending: what a page does while its path is broken.
    pub(crate) fn write(&mut self, channel: Channel, payload: &[u8]) {
        self.written.extend(record_header(channel, payload.len()).unwrap());
        self.written.extend_from_slice(payload);
    }

    /// Sends what was written, whatever the window; an error where the agent has hung up.
    pub(crate) async fn push_written(&mut self) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        let rest = self.written.split_off(usize::try_from(self.sent).unwrap());
        for piece in rest.chunks(60_000) {
            let frame = Frame::Data { offset: self.sent, bytes: Bytes::copy_from_slice(piece) };
            self.sent += piece.len() as u64;
            self.socket.send(Message::Binary(frame.encode())).await?;
        }
        self.written.extend(rest);
        Ok(())
    }

    async fn send_written(&mut self) {
        self.push_written().await.unwrap();
    }

    async fn next_frame(&mut self) -> Option<Frame> {
        loop {
            match timeout(LIMIT, self.socket.next()).await.unwrap() {
                Some(Ok(Message::Binary(bytes))) => return Some(Frame::decode(bytes).unwrap()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The next thing the agent says, besides acknowledgements and pings.
    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            match self.next_frame().await {
                None => return Heard::Closed,
                Some(Frame::Ack { received }) => assert!(received <= self.sent),
                Some(Frame::Ping { token }) => self.send_frame(Frame::Pong { token }).await,
                Some(Frame::Data { offset, bytes }) => {
                    let known = self.received.checked_sub(offset).expect("no gap");
                    let mut rest = &bytes[usize::try_from(known).unwrap().min(bytes.len())..];
                    self.received += rest.len() as u64;
                    while let Some(piece) = self.records.next(&mut rest).unwrap() {
                        self.heard.push_back(match piece {
                            Piece::Display(bytes) => Heard::Display(bytes.to_vec()),
                            Piece::Whole(channel, payload) => {
                                Heard::Record(channel, String::from_utf8(payload).unwrap())
                            }
                        });
                    }
                    self.send_frame(Frame::Ack { received: self.received }).await;
                }
                Some(other) => return Heard::Frame(other),
            }
        }
    }

    /// Bytes of the display, whatever else is said meanwhile.
    pub(crate) async fn read(&mut self, length: usize) -> Vec<u8> {
        while self.display.len() < length {
            match self.hear().await {
                Heard::Display(bytes) => self.display.extend(bytes),
                Heard::Record(..) => {}
                heard @ (Heard::Frame(_) | Heard::Closed) => panic!("no bytes but {heard:?}"),
            }
        }
        self.display.drain(..length).collect()
    }

    pub(crate) async fn shake_hands(&mut self) {
        assert_eq!(self.read(12).await, b"RFB 003.008\n");
        self.send(Channel::Display, b"RFB 003.008\n").await;
        assert_eq!(self.read(2).await, [1, 1]);
        self.send(Channel::Display, &[1]).await;
        assert_eq!(self.read(4).await, [0; 4]);
        self.send(Channel::Display, &[1]).await;
        let init = self.read(24).await;
        self.read(usize::from(init[23])).await;
    }

    /// Waits for a NOTICE and the end of the connection after it.
    pub(crate) async fn noticed(&mut self) -> Code {
        loop {
            match self.hear().await {
                Heard::Frame(Frame::Notice { code, .. }) => return code,
                Heard::Closed => panic!("closed without a notice"),
                Heard::Display(_) | Heard::Record(..) | Heard::Frame(_) => {}
            }
        }
    }

    pub(crate) async fn closed(&mut self) {
        while self.hear().await != Heard::Closed {}
    }
}

/// The NOTICE that a path ends with, whatever data is still on it.
pub(crate) async fn last_notice(socket: &mut Socket) -> Option<Code> {
    let mut notice = None;
    loop {
        match timeout(LIMIT, socket.next()).await.unwrap() {
            Some(Ok(Message::Binary(bytes))) => {
                if let Ok(Frame::Notice { code, .. }) = Frame::decode(bytes) {
                    notice = Some(code);
                }
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => return notice,
            Some(Ok(_)) => {}
        }
    }
}
