//! What a viewer may say to a display: an allow-list, applied message by message.
//!
//! ```text
//! version ──> security ──> init ──> messages <──> skipping cut text
//! ```
//!
//! Only whole messages are passed on, so a display server is always at the border between two, whenever a path breaks. The parser
//! holds at most [`MAX_BUFFERED_BYTES`], the longest message of the list.

use meridian_model::Policy;

use super::{
    held::Held,
    message::{self, Kind, Length, MAX_ENCODINGS, Unfit},
};

/// What the filter ever holds back: a SetEncodings of the greatest length.
pub const MAX_BUFFERED_BYTES: usize = 4 + 4 * MAX_ENCODINGS;

const VERSION: &[u8; 12] = b"RFB 003.008\n";
const SECURITY_NONE: u8 = 1;

/// Pseudo-encodings that are struck from SetEncodings, because each would let the client send messages that the list does not have, or change the
/// form of those it has: extended mouse buttons, xvp, General Input Interface, QEMU audio, extended clipboard.
const STRUCK: [i32; 5] = [-316, -309, -305, -259, 0xC0A1_E5CE_u32 as i32];

/// Why a viewer is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    #[error("the viewer does not speak RFB 3.8")]
    Version,
    #[error("the viewer asked for security type {0}, and only None (1) is offered")]
    Security(u8),
    #[error("the viewer sent a message of type {0}, which is not allowed")]
    Message(u8),
    #[error("the viewer sent a {0} that is too long")]
    TooLong(&'static str),
    #[error("the viewer holds more keys than there are")]
    Keys,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Version,
    Security,
    Init,
    Messages,
    Skipping(u32),
}

/// The filter of one RFB connection, from its first byte.
#[derive(Debug)]
pub struct ClientFilter {
    policy: Policy,
    state: State,
    buffer: Vec<u8>,
    held: Held,
    inputs: u64,
}

impl ClientFilter {
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, state: State::Version, buffer: Vec::new(), held: Held::default(), inputs: 0 }
    }

    /// What the viewer may do from its next message on.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// How many bytes are held back now.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Messages of keys and pointer until now, also those that policy keeps from the display: somebody is there.
    #[must_use]
    pub fn inputs(&self) -> u64 {
        self.inputs
    }

    /// Takes bytes of the viewer's and appends to `out` what the display may read.
    ///
    /// # Errors
    /// When the viewer said something that is not allowed; what was appended before may still be used, the filter may not.
    pub fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), FilterError> {
        while !input.is_empty() {
            if let State::Skipping(left) = self.state {
                let skipped = u32::try_from(input.len()).unwrap_or(u32::MAX).min(left);
                input = &input[skipped as usize..];
                self.skip(left - skipped);
                continue;
            }
            let wanted = self.wanted()?;
            let part = wanted.saturating_sub(self.buffer.len()).min(input.len());
            self.buffer.extend_from_slice(&input[..part]);
            input = &input[part..];
            if self.buffer.len() == wanted {
                self.advance(out)?;
            }
        }
        Ok(())
    }

    /// What lets go of every key and button that the viewer holds, for the display to read.
    pub fn release(&mut self) -> Vec<u8> {
        self.held.release()
    }

    /// How long the buffer must be before anything can be decided.
    fn wanted(&self) -> Result<usize, FilterError> {
        Ok(match self.state {
            State::Version => VERSION.len(),
            State::Security | State::Init => 1,
            State::Skipping(_) => 0,
            State::Messages if self.buffer.is_empty() => 1,
            State::Messages => match message::judge(&self.buffer)?.1 {
                Length::AtLeast(length) | Length::Exactly(length) => length,
                Length::Skip(_) => self.buffer.len(),
            },
        })
    }

    fn advance(&mut self, out: &mut Vec<u8>) -> Result<(), FilterError> {
        match self.state {
            State::Version if self.buffer == VERSION => self.pass(State::Security, out),
            State::Version => return Err(FilterError::Version),
            State::Security if self.buffer == [SECURITY_NONE] => self.pass(State::Init, out),
            State::Security => return Err(FilterError::Security(self.buffer[0])),
            State::Init => {
                // Always shared: a viewer that comes never throws out one that is there.
                self.buffer = vec![1];
                self.pass(State::Messages, out);
            }
            State::Messages => {
                let (kind, length) = message::judge(&self.buffer)?;
                match length {
                    Length::Skip(length) => self.skip(length),
                    Length::Exactly(length) if self.buffer.len() == length => self.message(kind, out)?,
                    Length::Exactly(_) | Length::AtLeast(_) => {}
                }
            }
            State::Skipping(_) => {}
        }
        Ok(())
    }

    fn skip(&mut self, left: u32) {
        self.buffer.clear();
        self.state = if left == 0 { State::Messages } else { State::Skipping(left) };
    }

    fn pass(&mut self, next: State, out: &mut Vec<u8>) {
        out.append(&mut self.buffer);
        self.state = next;
    }

    fn message(&mut self, kind: Kind, out: &mut Vec<u8>) -> Result<(), FilterError> {
        let allowed = match kind {
            Kind::Key | Kind::Pointer | Kind::ExtendedKey => {
                self.inputs += 1;
                self.policy.input
            }
            Kind::DesktopSize => self.policy.resize,
            Kind::CutText => false,
            Kind::SetPixelFormat
            | Kind::SetEncodings
            | Kind::UpdateRequest
            | Kind::ContinuousUpdates
            | Kind::Fence => true,
        };
        if allowed {
            self.note(kind)?;
            out.extend_from_slice(&self.buffer);
        }
        self.buffer.clear();
        Ok(())
    }

    /// Remembers what is held, and strikes what may not be announced.
    fn note(&mut self, kind: Kind) -> Result<(), FilterError> {
        let word = |at: usize| {
            let bytes = self.buffer.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            u32::from_be_bytes(bytes.unwrap_or_default())
        };
        let fine = match kind {
            Kind::Key => {
                let (keysym, down) = (word(4), self.buffer[1] != 0);
                self.held.key(keysym, None, down)
            }
            Kind::ExtendedKey => {
                let (keysym, code, down) = (word(4), word(8), self.buffer[2..4] != [0, 0]);
                self.held.key(keysym, Some(code), down)
            }
            Kind::Pointer => {
                let [_, buttons, x0, x1, y0, y1] = self.buffer[..] else { return Ok(()) };
                self.held.pointer(buttons, [x0, x1], [y0, y1]);
                true
            }
            Kind::SetEncodings => {
                self.strike_encodings();
                true
            }
            Kind::SetPixelFormat
            | Kind::UpdateRequest
            | Kind::CutText
            | Kind::ContinuousUpdates
            | Kind::Fence
            | Kind::DesktopSize => true,
        };
        if fine { Ok(()) } else { Err(FilterError::Keys) }
    }

    fn strike_encodings(&mut self) {
        let kept: Vec<u8> = self.buffer[4..]
            .chunks_exact(4)
            .filter(|bytes| {
                let number = i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                !STRUCK.contains(&number)
            })
            .flatten()
            .copied()
            .collect();
        let count = u16::try_from(kept.len() / 4).unwrap_or(u16::MAX);
        self.buffer[2..4].copy_from_slice(&count.to_be_bytes());
        self.buffer.truncate(4);
        self.buffer.extend_from_slice(&kept);
    }
}

impl From<Unfit> for FilterError {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            Unfit::Unknown(kind) => Self::Message(kind),
            Unfit::TooLong(what) => Self::TooLong(what),
        }
    }
}
