//! All SQL. A module per aggregate; rows become domain values in one fallible conversion.
//!
//! Hot interactions are one call of a versioned SQL function (`control/migrations`) that answers one JSON document with an `outcome`; each
//! call is one statement, prepared when its connection was opened, without BEGIN and COMMIT of its own and without a ping on
//! checkout: one round trip (docs/decisions/0001-database-client.md).

pub(crate) mod acting;
pub mod api_keys;
pub mod audit;
mod database;
pub mod explain;
pub mod groups;
pub mod homes;
pub mod images;
pub mod keys;
pub mod logins;
mod migrate;
pub mod nodes;
mod pool;
pub mod reassignments;
pub mod sessions;
pub mod users;
pub mod watches;
pub mod workspaces;
pub mod zones;

pub use database::{Database, DatabaseUrlError, TlsFault};
pub use migrate::{MIGRATION_WAIT, MIGRATIONS_KEY, migrate};
pub use pool::{Store, StoreError};
