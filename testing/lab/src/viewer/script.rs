//! What a scripted viewer does with its display, and what it must see: the RFB handshake, then a request for the whole picture at a steady
//! rate with keys between, one request at a time. Every byte of every answer is checked, so that one that is lost, doubled or moved
//! anywhere on the way, in either direction, is found: a request that got lost has no answer, and one that came twice has two.

use std::time::Duration;

use super::core::Lost;

/// The simulated display's size and picture (agent/engine/src/simulated/display.rs), written down once more: this is the other side's word.
const WIDTH: u16 = 64;
pub(crate) const HEIGHT: u16 = 48;
const VERSION: &[u8] = b"RFB 003.008\n";
const SECURITY_NONE: &[u8] = &[1, 1];
const SECURITY_GOOD: &[u8] = &[0; 4];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Version,
    Security,
    Result,
    Init,
    /// Asked for a picture, of whose answer so many bytes came.
    Asked,
    /// The next request is due then.
    Resting,
}

/// How often, and how much of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// From a picture's arrival to the next request: what a stall is at least.
    pub(crate) every: Duration,
    /// Rows of 64 pixels, from the top.
    pub(crate) rows: u16,
}

#[derive(Debug)]
pub(crate) struct Script {
    step: Step,
    /// Bytes of the present step that came.
    have: usize,
    expected: Vec<u8>,
    picture: Vec<u8>,
    pace: Pace,
    due: Duration,
    frames: u64,
}

impl Script {
    pub(crate) fn new(pace: Pace) -> Self {
        let mut script = Self {
            step: Step::Version,
            have: 0,
            expected: Vec::new(),
            picture: picture(pace.rows),
            pace,
            due: Duration::MAX,
            frames: 0,
        };
        script.restart();
        script
    }

    /// A display anew: on NEW and RESTARTED.
    pub(crate) fn restart(&mut self) {
        self.expect(Step::Version, VERSION);
    }

    /// Whole pictures that came.
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    pub(crate) fn due(&self) -> Option<Duration> {
        (self.step == Step::Resting).then_some(self.due)
    }

    /// What to say when it is due: keys, and a request for all of the picture.
    pub(crate) fn tick(&mut self, now: Duration) -> Option<Vec<u8>> {
        if self.step != Step::Resting || now < self.due {
            return None;
        }
        let mut said = Vec::new();
        if self.frames.is_multiple_of(4) {
            said.extend([4, 1, 0, 0, 0, 0, 0, 0x61, 4, 0, 0, 0, 0, 0, 0, 0x61]);
        }
        said.extend(self.ask());
        Some(said)
    }

    /// Takes bytes of the display; gives what to answer.
    pub(crate) fn take(&mut self, mut bytes: &[u8], now: Duration) -> Result<Vec<u8>, Lost> {
        let mut said = Vec::new();
        while !bytes.is_empty() {
            if self.step == Step::Resting {
                return Err(Lost("the display said what nobody asked for"));
            }
            let rest = &self.expected[self.have..];
            let (part, after) = bytes.split_at(bytes.len().min(rest.len()));
            if part != &rest[..part.len()] {
                return Err(Lost("the display's bytes are not what it shows"));
            }
            self.have += part.len();
            bytes = after;
            if self.have == self.expected.len() {
                said.extend(self.completed(now));
            }
        }
        Ok(said)
    }

    fn completed(&mut self, now: Duration) -> Vec<u8> {
        match self.step {
            Step::Version => {
                self.expect(Step::Security, SECURITY_NONE);
                VERSION.to_vec()
            }
            Step::Security => {
                self.expect(Step::Result, SECURITY_GOOD);
                vec![1]
            }
            Step::Result => {
                self.expect(Step::Init, &init());
                vec![1]
            }
            Step::Init => self.ask(),
            Step::Asked | Step::Resting => {
                self.frames += 1;
                self.step = Step::Resting;
                self.due = now + self.pace.every;
                Vec::new()
            }
        }
    }

    fn ask(&mut self) -> Vec<u8> {
        let picture = std::mem::take(&mut self.picture);
        self.expect(Step::Asked, &picture);
        self.picture = picture;
        let mut request = vec![3, 0, 0, 0, 0, 0];
        request.extend([WIDTH.to_be_bytes(), self.pace.rows.to_be_bytes()].concat());
        request
    }

    fn expect(&mut self, step: Step, bytes: &[u8]) {
        self.step = step;
        self.have = 0;
        self.expected.clear();
        self.expected.extend_from_slice(bytes);
    }
}

/// ServerInit of the simulated display.
fn init() -> Vec<u8> {
    let mut init = [WIDTH.to_be_bytes(), HEIGHT.to_be_bytes()].concat();
    init.extend([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]);
    init.extend(9_u32.to_be_bytes());
    init.extend(b"simulated");
    init
}

/// One FramebufferUpdate of one raw rectangle.
fn picture(rows: u16) -> Vec<u8> {
    let mut update = vec![0, 0, 0, 1, 0, 0, 0, 0];
    update.extend([WIDTH.to_be_bytes(), rows.to_be_bytes()].concat());
    update.extend(0_i32.to_be_bytes());
    let pixels = 0..u32::from(WIDTH) * u32::from(rows);
    update.extend(pixels.flat_map(|pixel| pixel.wrapping_mul(2_654_435_761).to_be_bytes()));
    update
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_millis(7);

    fn shaken() -> Script {
        let mut script = Script::new(Pace { every: Duration::from_millis(50), rows: HEIGHT });
        assert_eq!(script.take(VERSION, AT).unwrap(), VERSION);
        assert_eq!(script.take(&[1, 1, 0, 0], AT).unwrap(), [1]);
        assert_eq!(script.take(&[0, 0], AT).unwrap(), [1]);
        assert_eq!(script.take(&init(), AT).unwrap().len(), 10);
        script
    }

    #[test]
    fn a_picture_is_asked_for_again_when_it_is_due() {
        let mut script = shaken();
        for piece in picture(HEIGHT).chunks(1000) {
            assert!(script.take(piece, AT).unwrap().is_empty());
        }
        assert_eq!((script.frames(), script.due()), (1, Some(Duration::from_millis(57))));
        assert_eq!(script.tick(Duration::from_millis(56)), None);
        assert_eq!(script.tick(Duration::from_millis(57)).unwrap().len(), 10);
    }

    #[test]
    fn a_byte_that_is_wrong_doubled_or_not_asked_for_is_found() {
        let mut wrong = picture(HEIGHT);
        wrong[9000] ^= 1;
        assert!(shaken().take(&wrong, AT).is_err());
        assert!(shaken().take(&[picture(HEIGHT), picture(HEIGHT)].concat(), AT).is_err());
        let mut skipped = picture(HEIGHT);
        skipped.remove(5000);
        assert!(shaken().take(&skipped, AT).is_err());
    }
}
