//! Who a node is: names, certificates of Meridian's own authority, mutual TLS, and signed calls.
//!
//! The authority's key lives in the database, sealed, and is only ever opened by Web App nodes. A node makes its own key, keeps it
//! on its own disk (0600), and has a certificate of [`LIFETIME_DAYS`] that it renews at two thirds of its life. A renewed certificate
//! serves new connections; those that exist go on.

mod authority;
mod call;
mod name;
mod node;
mod public;
mod remembered;
mod tickets;
mod tls;

pub use authority::{Authority, IssuedCertificate, LIFETIME_DAYS};
pub use call::{CallError, CallHeaders, sign_call, verify_call};
pub use name::{NodeName, web_name};
pub use node::{NodeFiles, NodeKey};
pub use public::PublicCertificate;
pub use tickets::ZoneTickets;
pub use tls::{NodeTls, Peer, install_crypto_provider};

/// Why an identity could not be made, read or believed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("the certificate request is malformed")]
    Request(#[source] rcgen::Error),
    #[error("the authority could not sign")]
    Sign(#[source] rcgen::Error),
    #[error("the key could not be read or made")]
    Key,
    #[error("the certificate could not be read: {0}")]
    Certificate(String),
    #[error("TLS refused the certificate")]
    Tls(#[from] rustls::Error),
    #[error("cannot read or write {path}")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
}
