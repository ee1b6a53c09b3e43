//! The session stream without its sockets: what viewer and agent say, and what the agent lets through.
//!
//! docs/integrators/stream.md is the contract; this crate is its pure half. [`Frame`] is one WebSocket message, [`RecordReader`] cuts the counted stream into
//! records, [`Challenge`] is what each path begins with, [`AgentStream`] the agent's side of a stream over all its paths (attaches, offsets,
//! acknowledgements, window, what must be sent again), and [`rfb::ClientFilter`] is the allow-list on what a viewer may say to a display. No clock, no randomness, no I/O: callers pass bytes, times and nonces in. Nothing here
//! buffers more than a stated bound, whatever it is fed.

mod agent;
mod attach;
mod frame;
mod record;
pub mod rfb;
mod ring;
mod window;

pub use agent::{AgentStream, ProtocolError, Received};
pub use attach::{Attach, AttachError, Challenge, ViewerKey, attach_text};
pub use frame::{Code, Frame, FrameError, MAX_MESSAGE_BYTES, MAX_TEXT_BYTES, Verdict};
pub use record::{
    Channel, MAX_DISPLAY_RECORD_BYTES, MAX_RECORD_BYTES, Piece, RECORD_HEADER_BYTES, RecordError,
    RecordReader, record_header,
};
pub use window::{FLOOR_BYTES, Window};
