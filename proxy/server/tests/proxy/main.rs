//! The proxy between a browser, a Web App and an agent, over real sockets and real mutual TLS; the last two are stand-ins that record
//! what they were told.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod agent;
mod browser;
mod draining;
mod faults;
mod introducing;
mod life;
mod refusals;
mod relaying;
mod resuming;
mod web;
mod world;
