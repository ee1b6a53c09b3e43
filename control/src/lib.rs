//! The Web App: console, API, sign-in, placement, session life, certificates, reconcilers.
//!
//! It lives beside PostgreSQL in the primary region, in any number; nodes share no state but the database. It never touches
//! a stream's bytes, and a running session does not notice when it is gone.
//!
//! * [`api`]: HTTP, thin. * `app`: use cases and secrets. * [`store`]: all SQL. * `tasks`: reconcilers.

pub mod api;
pub mod app;
mod bootstrap;
mod entrance;
mod metrics;
mod serve;
mod state;
pub mod store;
mod tasks;
pub mod views;

pub use bootstrap::{BootstrapError, generated_password};
pub use serve::{Web, WebError};
pub use state::{App, AppState, TrustedRange};
