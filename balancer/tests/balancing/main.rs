//! The balancer over real sockets.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod checking;
mod choosing;
mod origin;
mod peers;
mod reloading;
mod routing;
mod watching;
mod world;
