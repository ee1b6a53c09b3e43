//! The first words of TLS.

use std::sync::Arc;

use anyhow::Result;
use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::aws_lc_rs};

/// What a client says first to a server of this name.
pub fn client_hello(name: &str) -> Result<Vec<u8>> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut connection = ClientConnection::new(Arc::new(config), name.to_owned().try_into()?)?;
    let mut hello = Vec::new();
    connection.write_tls(&mut hello)?;
    Ok(hello)
}
