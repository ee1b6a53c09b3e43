//! The public listener's TLS.

use std::{path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::Ticketer,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::ProxyError;

/// Reads certificate chain and key. Sessions are resumed by tickets, so that the proxy keeps no state for who left.
pub(crate) fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, ProxyError> {
    let unusable =
        |path: &Path, reason: String| ProxyError::Certificate { path: path.display().to_string(), reason };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(certificate, error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| unusable(certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = Ticketer::new().map_err(|error| unusable(key, error.to_string()))?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}
