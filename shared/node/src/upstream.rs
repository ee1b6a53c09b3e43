//! The HTTP client for the primary's public address: public roots, and the operator's own where given.

use std::{path::Path, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// How long a connection to the public address may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a whole call may take.
const CALL_LIMIT: Duration = Duration::from_secs(15);

/// The client for the public address could not be made.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error("cannot read the extra roots for the upstream address in {path}")]
    Roots {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{path} holds no certificate in PEM")]
    NoCertificate { path: String },
    #[error("the HTTP client could not be made")]
    Client(#[from] reqwest::Error),
}

/// Makes the client. It takes no proxy from the environment and follows no redirect: a signed call goes where it was meant to go.
///
/// # Errors
/// When the file with extra roots cannot be used.
pub fn upstream_http(extra_roots: Option<&Path>) -> Result<reqwest::Client, UpstreamError> {
    meridian_identity::install_crypto_provider();
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = extra_roots {
        add_roots(&mut roots, path)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_LIMIT)
        .timeout(CALL_LIMIT)
        .build()?;
    Ok(client)
}

fn add_roots(roots: &mut RootCertStore, path: &Path) -> Result<(), UpstreamError> {
    let shown = path.display().to_string();
    let pem = std::fs::read(path).map_err(|source| UpstreamError::Roots { path: shown.clone(), source })?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).flatten().collect();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 { Err(UpstreamError::NoCertificate { path: shown }) } else { Ok(()) }
}
