//! What tests share: a database of their own, a proxy that counts and breaks, and waiting for a condition.

mod database;
mod wait;
mod wire;

pub use database::TestDatabase;
pub use wait::wait_for;
pub use wire::{Counts, WireProxy};
