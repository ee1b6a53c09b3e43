//! Records inside the counted stream: a channel, a length, a payload, which DATA may cut anywhere.

/// Longest payload of a record.
pub const MAX_RECORD_BYTES: usize = 1 << 20;
/// Longest payload of a display record.
pub const MAX_DISPLAY_RECORD_BYTES: usize = 64 << 10;
/// Channel and length.
pub const RECORD_HEADER_BYTES: usize = 5;

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Bytes of one RFB connection.
    Display,
    /// One JSON object: a text.
    Clipboard,
    /// One JSON object: something about the stream itself.
    Control,
}

impl Channel {
    fn number(self) -> u8 {
        match self {
            Self::Display => 1,
            Self::Clipboard => 2,
            Self::Control => 3,
        }
    }

    fn max_bytes(self) -> usize {
        match self {
            Self::Display => MAX_DISPLAY_RECORD_BYTES,
            Self::Clipboard | Self::Control => MAX_RECORD_BYTES,
        }
    }
}

/// Bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    #[error("a record on unknown channel {0}")]
    Channel(u8),
    #[error("a record of {0} bytes is longer than its channel allows")]
    Length(u32),
}

/// The header of a record whose payload follows.
///
/// # Errors
/// When the payload is longer than its channel allows.
pub fn record_header(channel: Channel, length: usize) -> Result<[u8; RECORD_HEADER_BYTES], RecordError> {
    let known = u32::try_from(length).unwrap_or(u32::MAX);
    if length > channel.max_bytes() {
        return Err(RecordError::Length(known));
    }
    let [a, b, c, d] = known.to_be_bytes();
    Ok([channel.number(), a, b, c, d])
}

/// What the reader found next.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Some bytes of the display channel, as they came: never held back.
    Display(&'a [u8]),
    /// A whole record of another channel.
    Whole(Channel, Vec<u8>),
}

/// Cuts the counted stream into records. Holds at most one record of [`MAX_RECORD_BYTES`].
#[derive(Debug, Default)]
pub struct RecordReader {
    state: State,
}

#[derive(Debug)]
enum State {
    Header { bytes: [u8; RECORD_HEADER_BYTES], have: usize },
    Display { left: usize },
    Whole { channel: Channel, length: usize, have: Vec<u8> },
}

impl Default for State {
    fn default() -> Self {
        Self::Header { bytes: [0; RECORD_HEADER_BYTES], have: 0 }
    }
}

impl RecordReader {
    /// Takes bytes off `input` up to the next piece; none when all were taken and more are needed.
    ///
    /// # Errors
    /// When the bytes are no record; the reader is of no use afterwards.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, RecordError> {
        loop {
            match &mut self.state {
                State::Header { bytes, have } => {
                    let part = split(input, RECORD_HEADER_BYTES - *have);
                    bytes[*have..*have + part.len()].copy_from_slice(part);
                    *have += part.len();
                    if *have < RECORD_HEADER_BYTES {
                        return Ok(None);
                    }
                    self.state = begin(*bytes)?;
                }
                State::Display { left } => {
                    let part = split(input, *left);
                    *left -= part.len();
                    if *left == 0 {
                        self.state = State::default();
                    }
                    if !part.is_empty() {
                        return Ok(Some(Piece::Display(part)));
                    }
                    if input.is_empty() {
                        return Ok(None);
                    }
                }
                State::Whole { channel, length, have } => {
                    have.extend_from_slice(split(input, *length - have.len()));
                    if have.len() < *length {
                        return Ok(None);
                    }
                    let piece = Piece::Whole(*channel, std::mem::take(have));
                    self.state = State::default();
                    return Ok(Some(piece));
                }
            }
        }
    }
}

fn begin(header: [u8; RECORD_HEADER_BYTES]) -> Result<State, RecordError> {
    let [number, a, b, c, d] = header;
    let length = u32::from_be_bytes([a, b, c, d]);
    let channel = match number {
        1 => Channel::Display,
        2 => Channel::Clipboard,
        3 => Channel::Control,
        other => return Err(RecordError::Channel(other)),
    };
    let length_known = usize::try_from(length).unwrap_or(usize::MAX);
    if length_known > channel.max_bytes() {
        return Err(RecordError::Length(length));
    }
    Ok(match channel {
        Channel::Display => State::Display { left: length_known },
        // Grown as bytes come, so that a header alone costs nothing.
        Channel::Clipboard | Channel::Control => {
            State::Whole { channel, length: length_known, have: Vec::new() }
        }
    })
}

fn split<'a>(input: &mut &'a [u8], at_most: usize) -> &'a [u8] {
    let (part, rest) = input.split_at(at_most.min(input.len()));
    *input = rest;
    part
}
