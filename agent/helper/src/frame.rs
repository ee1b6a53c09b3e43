//! A small RFB client, which knows whether the display server shows anything: it completes the handshake and looks
//! at frames (RFC 6143), through the socket that the agent uses.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::windows::Area;

const VERSION: &[u8; 12] = b"RFB 003.008\n";
const SECURITY_NONE: u8 = 1;
const ENCODING_RAW: i32 = 0;
/// Asked for so that the server may leave the pointer out of the picture, where it would pass for content.
const ENCODING_CURSOR: i32 = -239;

const MESSAGE_UPDATE: u8 = 0;
const MESSAGE_COLOURS: u8 = 1;
const MESSAGE_BELL: u8 = 2;
const MESSAGE_CUT_TEXT: u8 = 3;

/// A multiple of every pixel size, so that a chunk holds whole pixels.
const CHUNK: usize = 16 << 10;

/// A connection to the display server, past the handshake.
struct Viewer {
    stream: UnixStream,
    deadline: Instant,
    width: u16,
    height: u16,
    bytes_per_pixel: usize,
    /// The only pixel value seen so far.
    colour: Option<Vec<u8>>,
}

/// Which pixels of an area to ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pixels {
    All,
    /// Those that change, from now on; answered when some do.
    Changed,
}

/// What one update held.
#[derive(Debug, PartialEq, Eq)]
enum Picture {
    OneColour,
    Content,
}

/// Completes a handshake and takes one pixel: the server is alive and serves.
pub(crate) fn check_alive(socket: &Path, limit: Duration) -> io::Result<()> {
    let mut viewer = Viewer::connect(socket, limit)?;
    viewer.request(Area { x: 0, y: 0, width: 1, height: 1 }, Pixels::All)?;
    viewer.next_update().map(drop)
}

/// Waits until the display holds more than one colour in each of `areas`. What stays blank for `patience` counts as
/// drawn as well: a program may mean it.
pub(crate) fn await_picture(socket: &Path, areas: &[Area], patience: Duration) -> io::Result<()> {
    for area in areas {
        // A connection each: on a busy one, the rest of an earlier area's pixels would have to be read first.
        let mut viewer = Viewer::connect(socket, patience)?;
        viewer.claim_pointer()?;
        viewer.await_content(viewer.visible(*area))?;
    }
    Ok(())
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl Viewer {
    fn connect(socket: &Path, limit: Duration) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_write_timeout(Some(limit))?;
        let deadline = Instant::now() + limit;
        let mut viewer = Self { stream, deadline, width: 0, height: 0, bytes_per_pixel: 0, colour: None };
        viewer.handshake()?;
        Ok(viewer)
    }

    fn handshake(&mut self) -> io::Result<()> {
        if !self.read_array::<12>()?.starts_with(b"RFB ") {
            return Err(unexpected("the display server does not speak RFB"));
        }
        self.stream.write_all(VERSION)?;
        let [types] = self.read_array()?;
        let mut offered = vec![0; types.into()];
        self.read_exact(&mut offered)?;
        if !offered.contains(&SECURITY_NONE) {
            return Err(unexpected("the display server turns connections away"));
        }
        self.stream.write_all(&[SECURITY_NONE])?;
        if self.read_array()? != [0u8; 4] {
            return Err(unexpected("the display server refused the connection"));
        }
        // Shared: this look at the display must not push a person off it.
        self.stream.write_all(&[1])?;
        self.read_server_init()?;
        self.stream.write_all(&set_encodings(&[ENCODING_RAW, ENCODING_CURSOR]))
    }

    fn read_server_init(&mut self) -> io::Result<()> {
        let init: [u8; 24] = self.read_array()?;
        self.width = u16::from_be_bytes([init[0], init[1]]);
        self.height = u16::from_be_bytes([init[2], init[3]]);
        self.bytes_per_pixel = match init[4] {
            bits @ (8 | 16 | 32) => usize::from(bits / 8),
            _ => return Err(unexpected("the display server's pixels have an unknown size")),
        };
        let name_length = u32::from_be_bytes([init[20], init[21], init[22], init[23]]);
        self.skip(name_length.into())
    }

    /// The server draws the pointer for a viewer that did not put it where it is. Before anyone has moved it, it is
    /// in the middle.
    fn claim_pointer(&mut self) -> io::Result<()> {
        const NO_BUTTONS: u8 = 0;
        let mut message = vec![5, NO_BUTTONS];
        message.extend((self.width / 2).to_be_bytes());
        message.extend((self.height / 2).to_be_bytes());
        self.stream.write_all(&message)
    }

    /// What of `area` is on the display.
    fn visible(&self, area: Area) -> Area {
        let (x, y) = (area.x.min(self.width), area.y.min(self.height));
        Area { x, y, width: area.width.min(self.width - x), height: area.height.min(self.height - y) }
    }

    fn await_content(&mut self, area: Area) -> io::Result<()> {
        self.request(area, Pixels::All)?;
        let mut picture = self.next_update()?;
        while picture == Picture::OneColour {
            self.request(area, Pixels::Changed)?;
            picture = match self.next_update() {
                Err(error) if is_timeout(&error) => Picture::Content,
                other => other?,
            };
        }
        Ok(())
    }

    fn request(&mut self, area: Area, pixels: Pixels) -> io::Result<()> {
        let mut message = vec![3, u8::from(pixels == Pixels::Changed)];
        let places = [area.x, area.y, area.width, area.height];
        message.extend(places.iter().flat_map(|place| place.to_be_bytes()));
        self.stream.write_all(&message)
    }

    /// The next frame's content; what else the server says is passed over.
    fn next_update(&mut self) -> io::Result<Picture> {
        loop {
            match self.read_array()? {
                [MESSAGE_UPDATE] => return self.read_update(),
                [MESSAGE_COLOURS] => {
                    let header: [u8; 5] = self.read_array()?;
                    self.skip(u64::from(u16::from_be_bytes([header[3], header[4]])) * 6)?;
                }
                [MESSAGE_BELL] => {}
                [MESSAGE_CUT_TEXT] => {
                    let header: [u8; 7] = self.read_array()?;
                    self.skip(u32::from_be_bytes([header[3], header[4], header[5], header[6]]).into())?;
                }
                [_] => return Err(unexpected("the display server sent an unknown message")),
            }
        }
    }

    /// Stops reading at the first pixel that differs: the rest says nothing new, and the connection is done with.
    fn read_update(&mut self) -> io::Result<Picture> {
        let header: [u8; 3] = self.read_array()?;
        for _ in 0..u16::from_be_bytes([header[1], header[2]]) {
            let rectangle: [u8; 12] = self.read_array()?;
            let side = |at: usize| usize::from(u16::from_be_bytes([rectangle[at], rectangle[at + 1]]));
            let (width, height) = (side(4), side(6));
            let pixels = width * height * self.bytes_per_pixel;
            match i32::from_be_bytes([rectangle[8], rectangle[9], rectangle[10], rectangle[11]]) {
                ENCODING_RAW => {
                    if self.read_pixels(pixels)? == Picture::Content {
                        return Ok(Picture::Content);
                    }
                }
                ENCODING_CURSOR => self.skip((pixels + width.div_ceil(8) * height) as u64)?,
                _ => return Err(unexpected("the display server used an encoding that was not asked for")),
            }
        }
        Ok(Picture::OneColour)
    }

    fn read_pixels(&mut self, length: usize) -> io::Result<Picture> {
        let mut buffer = [0; CHUNK];
        let mut left = length;
        while left > 0 {
            let chunk = &mut buffer[..left.min(CHUNK)];
            self.read_exact(chunk)?;
            left -= chunk.len();
            let colour = self.colour.get_or_insert_with(|| chunk[..self.bytes_per_pixel].to_vec());
            if chunk.chunks(self.bytes_per_pixel).any(|pixel| pixel != colour.as_slice()) {
                return Ok(Picture::Content);
            }
        }
        Ok(Picture::OneColour)
    }

    fn skip(&mut self, length: u64) -> io::Result<()> {
        let mut buffer = [0; CHUNK];
        let mut left = length;
        while left > 0 {
            let chunk = left.min(CHUNK as u64) as usize;
            self.read_exact(&mut buffer[..chunk])?;
            left -= chunk as u64;
        }
        Ok(())
    }

    fn read_array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads within the connection's deadline, whatever the pace at which bytes trickle in.
    fn read_exact(&mut self, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the display server does not answer"));
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(buffer) {
                Ok(0) => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the display server closed"));
                }
                Ok(read) => buffer = &mut buffer[read..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn set_encodings(encodings: &[i32]) -> Vec<u8> {
    let mut message = vec![2, 0];
    message.extend((encodings.len() as u16).to_be_bytes());
    message.extend(encodings.iter().flat_map(|encoding| encoding.to_be_bytes()));
    message
}

fn unexpected(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);
    const SCREEN: Area = Area { x: 0, y: 0, width: 2, height: 2 };

    /// A display of 2x2 pixels which answers each request with the next of `updates`, then stays silent.
    fn display(updates: Vec<Vec<u8>>) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rfb.sock");
        let listener = UnixListener::bind(&path).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(VERSION).unwrap();
            read(&mut stream, 12);
            stream.write_all(&[1, SECURITY_NONE]).unwrap();
            read(&mut stream, 1);
            stream.write_all(&[0; 4]).unwrap();
            assert_eq!(read(&mut stream, 1), [1], "not shared");
            let mut init = vec![0, 2, 0, 2, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];
            init.extend([0, 0, 0, 1, b'x']);
            stream.write_all(&init).unwrap();
            read(&mut stream, 4 + 8);
            for update in updates {
                read_request(&mut stream);
                stream.write_all(&update).unwrap();
            }
            // Held open until the viewer leaves.
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.read(&mut [0; 64]);
        });
        (directory, path)
    }

    /// Passes over the pointer's place.
    fn read_request(stream: &mut UnixStream) {
        while read(stream, 1) == [5] {
            read(stream, 5);
        }
        read(stream, 9);
    }

    fn read(stream: &mut UnixStream, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn update(rectangles: &[(i32, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0, 0];
        bytes.extend((rectangles.len() as u16).to_be_bytes());
        for (encoding, body) in rectangles {
            bytes.extend([0, 0, 0, 0, 0, 2, 0, 2]);
            bytes.extend(encoding.to_be_bytes());
            bytes.extend(*body);
        }
        bytes
    }

    #[test]
    fn a_blank_display_is_waited_for_until_something_is_drawn() {
        let mut drawn = vec![0; 16];
        drawn[12] = 255;
        let bell_first = [vec![MESSAGE_BELL], update(&[(ENCODING_RAW, &drawn)])].concat();
        let blank = update(&[(ENCODING_CURSOR, &[7; 18]), (ENCODING_RAW, &[0; 16])]);
        let (_directory, path) = display(vec![blank, bell_first]);
        await_picture(&path, &[SCREEN], LIMIT).unwrap();
    }

    #[test]
    fn a_change_from_one_colour_to_another_is_content() {
        let updates = vec![update(&[(ENCODING_RAW, &[0; 16])]), update(&[(ENCODING_RAW, &[9; 16])])];
        let (_directory, path) = display(updates);
        await_picture(&path, &[SCREEN], LIMIT).unwrap();
    }

    #[test]
    fn a_picture_that_stays_blank_is_taken_for_meant() {
        let (_directory, path) = display(vec![update(&[(ENCODING_RAW, &[0; 16])])]);
        await_picture(&path, &[SCREEN], Duration::from_millis(300)).unwrap();
    }

    #[test]
    fn a_display_that_never_sends_a_frame_is_not_alive() {
        let (_directory, path) = display(vec![]);
        assert!(is_timeout(&check_alive(&path, Duration::from_millis(300)).unwrap_err()));
    }

    #[test]
    fn a_display_that_answers_is_alive() {
        let (_directory, path) = display(vec![update(&[(ENCODING_RAW, &[0; 16])])]);
        check_alive(&path, LIMIT).unwrap();
    }

    #[test]
    fn an_encoding_that_was_not_asked_for_is_refused() {
        let (_directory, path) = display(vec![update(&[(16, &[0; 16])])]);
        assert_eq!(check_alive(&path, LIMIT).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
