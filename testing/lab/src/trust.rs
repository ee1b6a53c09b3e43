//! What a browser in the lab trusts, and the TLS sessions that it remembers.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use rustls::{
    CipherSuite, ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, pem::PemObject},
};

/// TLS sessions that one browser remembers.
const REMEMBERED: usize = 8;

/// Clones share what is remembered.
#[derive(Clone)]
pub(crate) struct Trust(Arc<ClientConfig>);

impl Trust {
    /// Trusts the authority in a PEM file alone.
    pub(crate) fn read(authority: &Path) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority).context("the lab's authority")?)?;
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        // As browsers offer them.
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// Another browser, which remembers its own sessions.
    pub(crate) fn own(&self) -> Self {
        let mut config = ClientConfig::clone(&self.0);
        config.resumption = Resumption::in_memory_sessions(REMEMBERED);
        Self(Arc::new(config))
    }

    pub(crate) fn tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}
