//! Use cases and the secrets they need; no axum, no SQL.

pub mod bus;
pub mod caller;
pub mod configuration;
pub mod identity;
pub mod images;
pub mod key_use;
pub mod live;
pub mod own_certificate;
pub mod passwords;
pub mod push;
pub mod requirements;
pub mod rules;
pub mod seal;
pub mod ticket_keys;
pub mod tickets;
pub mod words;
