//! One WebSocket message of `meridian.v1`.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use meridian_ids::{StreamId, Uuid};

use crate::attach::{Attach, ViewerKey};

/// No message is longer.
pub const MAX_MESSAGE_BYTES: usize = 65_536;
/// No text of REFUSED or NOTICE is longer.
pub const MAX_TEXT_BYTES: usize = 512;
/// The version this crate speaks.
pub(crate) const VERSION: u8 = 1;

const CHALLENGE: u8 = 0x01;
const ATTACH: u8 = 0x02;
const ATTACHED: u8 = 0x03;
const REFUSED: u8 = 0x04;
const DATA: u8 = 0x10;
const ACK: u8 = 0x11;
const PING: u8 = 0x12;
const PONG: u8 = 0x13;
const NOTICE: u8 = 0x14;
const LEAVE: u8 = 0x15;

const POINT_BYTES: usize = 65;
const SIGNATURE_BYTES: usize = 64;

/// What an attach came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A stream that had no attach before.
    New,
    /// Both sides go on where they were.
    Resumed,
    /// What the other lacks is gone: offsets begin at 0 again.
    Restarted,
}

/// Why the agent refuses or announces something. Codes of a newer release stay numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    Protocol,
    Key,
    Superseded,
    Ended,
    DisplayUnavailable,
    Draining,
    ClipboardRefused,
    Revoked,
    Idle,
    Unknown(u16),
}

impl Code {
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Protocol => 1,
            Self::Key => 2,
            Self::Superseded => 3,
            Self::Ended => 4,
            Self::DisplayUnavailable => 5,
            Self::Draining => 6,
            Self::ClipboardRefused => 7,
            Self::Revoked => 8,
            Self::Idle => 9,
            Self::Unknown(number) => number,
        }
    }

    #[must_use]
    pub fn from_number(number: u16) -> Self {
        match number {
            1 => Self::Protocol,
            2 => Self::Key,
            3 => Self::Superseded,
            4 => Self::Ended,
            5 => Self::DisplayUnavailable,
            6 => Self::Draining,
            7 => Self::ClipboardRefused,
            8 => Self::Revoked,
            9 => Self::Idle,
            other => Self::Unknown(other),
        }
    }
}

/// A frame. Its length is bounded by [`MAX_MESSAGE_BYTES`] in both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Challenge {
        nonce: [u8; 32],
        stream: StreamId,
    },
    Attach(Attach),
    Attached {
        verdict: Verdict,
        received: u64,
        window: u32,
    },
    Refused {
        code: Code,
        message: String,
    },
    Data {
        offset: u64,
        bytes: Bytes,
    },
    Ack {
        received: u64,
    },
    Ping {
        token: u64,
    },
    Pong {
        token: u64,
    },
    Notice {
        code: Code,
        message: String,
    },
    /// The viewer goes and will not come back to this stream.
    Leave,
}

/// A message that is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a message is empty or longer than {MAX_MESSAGE_BYTES} bytes")]
    Size,
    #[error("a message of unknown kind {0:#04x}")]
    Kind(u8),
    #[error("a message that is too short, too long or malformed for its kind {0:#04x}")]
    Body(u8),
    #[error("version {0} of the stream is not spoken here")]
    Version(u8),
}

impl Frame {
    /// How many bytes of the counted stream fit into one DATA frame.
    pub const MAX_DATA_BYTES: usize = MAX_MESSAGE_BYTES - 9;

    /// The frame in wire form. Texts are cut to [`MAX_TEXT_BYTES`] at a character's border.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        match self {
            Self::Challenge { nonce, stream } => {
                out.put_slice(&[CHALLENGE, VERSION]);
                out.put_slice(nonce);
                out.put_slice(stream.0.as_bytes());
            }
            Self::Attach(attach) => encode_attach(&mut out, attach),
            Self::Attached { verdict, received, window } => {
                let verdict = match verdict {
                    Verdict::New => 0,
                    Verdict::Resumed => 1,
                    Verdict::Restarted => 2,
                };
                out.put_slice(&[ATTACHED, verdict]);
                out.put_u64(*received);
                out.put_u32(*window);
            }
            Self::Refused { code, message } => encode_text(&mut out, REFUSED, *code, message),
            Self::Data { offset, bytes } => encode_data(&mut out, *offset, (bytes, &[])),
            Self::Ack { received } => encode_number(&mut out, ACK, *received),
            Self::Ping { token } => encode_number(&mut out, PING, *token),
            Self::Pong { token } => encode_number(&mut out, PONG, *token),
            Self::Notice { code, message } => encode_text(&mut out, NOTICE, *code, message),
            Self::Leave => out.put_u8(LEAVE),
        }
        out.freeze()
    }

    /// A DATA frame in wire form, of bytes that lie in two parts and are at most [`Frame::MAX_DATA_BYTES`] together.
    pub(crate) fn data_message(offset: u64, parts: (&[u8], &[u8])) -> Bytes {
        let mut out = BytesMut::new();
        encode_data(&mut out, offset, parts);
        out.freeze()
    }

    /// Reads one message.
    ///
    /// # Errors
    /// When it is not exactly one frame.
    pub fn decode(mut message: Bytes) -> Result<Self, FrameError> {
        if message.is_empty() || message.len() > MAX_MESSAGE_BYTES {
            return Err(FrameError::Size);
        }
        let kind = message.get_u8();
        let wrong = FrameError::Body(kind);
        let frame = match kind {
            CHALLENGE => {
                check_version(&mut message, wrong)?;
                let nonce = take(&mut message).ok_or(wrong)?;
                let stream = StreamId(Uuid::from_bytes(take(&mut message).ok_or(wrong)?));
                Self::Challenge { nonce, stream }
            }
            ATTACH => {
                check_version(&mut message, wrong)?;
                Self::Attach(decode_attach(&mut message).ok_or(wrong)?)
            }
            ATTACHED => {
                let verdict = match take_u8(&mut message).ok_or(wrong)? {
                    0 => Verdict::New,
                    1 => Verdict::Resumed,
                    2 => Verdict::Restarted,
                    _ => return Err(wrong),
                };
                let received = take_u64(&mut message).ok_or(wrong)?;
                let window = u32::from_be_bytes(take(&mut message).ok_or(wrong)?);
                Self::Attached { verdict, received, window }
            }
            DATA => {
                let offset = take_u64(&mut message).ok_or(wrong)?;
                if message.is_empty() {
                    return Err(wrong);
                }
                // No offset that a stream can reach lies within a message of the end of the numbers.
                offset.checked_add(MAX_MESSAGE_BYTES as u64).ok_or(wrong)?;
                return Ok(Self::Data { offset, bytes: message });
            }
            ACK => Self::Ack { received: take_u64(&mut message).ok_or(wrong)? },
            PING => Self::Ping { token: take_u64(&mut message).ok_or(wrong)? },
            PONG => Self::Pong { token: take_u64(&mut message).ok_or(wrong)? },
            LEAVE => Self::Leave,
            REFUSED | NOTICE => {
                let code = Code::from_number(u16::from_be_bytes(take(&mut message).ok_or(wrong)?));
                if message.len() > MAX_TEXT_BYTES {
                    return Err(wrong);
                }
                let text = std::mem::take(&mut message);
                let message = String::from_utf8(text.into()).map_err(|_| wrong)?;
                if kind == REFUSED { Self::Refused { code, message } } else { Self::Notice { code, message } }
            }
            other => return Err(FrameError::Kind(other)),
        };
        if message.is_empty() { Ok(frame) } else { Err(wrong) }
    }
}

fn encode_data(out: &mut BytesMut, offset: u64, (first, second): (&[u8], &[u8])) {
    out.reserve(9 + first.len() + second.len());
    out.put_u8(DATA);
    out.put_u64(offset);
    out.put_slice(first);
    out.put_slice(second);
}

fn encode_number(out: &mut BytesMut, kind: u8, number: u64) {
    out.put_u8(kind);
    out.put_u64(number);
}

fn encode_text(out: &mut BytesMut, kind: u8, code: Code, text: &str) {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.put_u8(kind);
    out.put_u16(code.number());
    out.put_slice(&text.as_bytes()[..end]);
}

fn encode_attach(out: &mut BytesMut, attach: &Attach) {
    out.put_slice(&[ATTACH, VERSION]);
    out.put_u64(attach.number);
    out.put_u64(attach.received);
    match &attach.key {
        Some(key) => {
            out.put_u8(POINT_BYTES as u8);
            out.put_slice(&key.point);
            out.put_u8(SIGNATURE_BYTES as u8);
            out.put_slice(&key.signature);
        }
        None => out.put_slice(&[0, 0]),
    }
}

/// Key and signature come together or not at all.
fn decode_attach(message: &mut Bytes) -> Option<Attach> {
    let number = take_u64(message)?;
    let received = take_u64(message)?;
    let key = match usize::from(take_u8(message)?) {
        0 => (take_u8(message)? == 0).then_some(None)?,
        POINT_BYTES => {
            let point = take(message)?;
            if usize::from(take_u8(message)?) != SIGNATURE_BYTES {
                return None;
            }
            Some(ViewerKey { point, signature: take(message)? })
        }
        _ => return None,
    };
    Some(Attach { number, received, key })
}

fn check_version(message: &mut Bytes, wrong: FrameError) -> Result<(), FrameError> {
    match take_u8(message).ok_or(wrong)? {
        VERSION => Ok(()),
        other => Err(FrameError::Version(other)),
    }
}

fn take<const N: usize>(message: &mut Bytes) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    message.try_copy_to_slice(&mut bytes).ok()?;
    Some(bytes)
}

fn take_u8(message: &mut Bytes) -> Option<u8> {
    message.try_get_u8().ok()
}

fn take_u64(message: &mut Bytes) -> Option<u64> {
    message.try_get_u64().ok()
}
