//! RFB 3.8 (RFC 6143), as far as an agent must understand it.

mod filter;
mod held;
mod message;

pub use filter::{ClientFilter, FilterError, MAX_BUFFERED_BYTES};
