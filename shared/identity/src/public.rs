//! TLS of a public listener: the operator's own certificate, for browsers.

use std::{path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::{Ticketer, default_provider},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::IdentityError;

/// Reads certificate chain and key (PEM files). Sessions resume by tickets, so that no state is kept for who left; only HTTP/1.1 is
/// offered, because a WebSocket needs it.
///
/// # Errors
/// When a file cannot be read, or the two do not fit; the path is named.
pub fn public_server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, IdentityError> {
    let unusable =
        |path: &Path, reason: String| IdentityError::Certificate(format!("{}: {reason}", path.display()));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(certificate, error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| unusable(certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}
