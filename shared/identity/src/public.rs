//! TLS of a public listener: the operator's own certificate, for browsers, read again when its files change.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use meridian_runtime::Tasks;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::{Ticketer, default_provider},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ProducesTickets, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::IdentityError;

/// How often the files are looked at. Those who replace certificates do so days before the old one ends.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Certificate chain and key of a public listener (PEM files). What is replaced on disk serves from the next handshake on; a file
/// that cannot be used, or a certificate whose key has not been written yet, changes nothing.
#[derive(Debug)]
pub struct PublicCertificate {
    certificate: PathBuf,
    key: PathBuf,
    current: ArcSwap<CertifiedKey>,
}

impl PublicCertificate {
    /// What a listener serves with, kept up to date for as long as the tasks run. Sessions resume on this process alone.
    ///
    /// # Errors
    /// When a file cannot be read, or the two do not fit; the path is named.
    pub fn serve(certificate: &Path, key: &Path, tasks: &Tasks) -> Result<Arc<ServerConfig>, IdentityError> {
        Self::serve_resuming(certificate, key, Ticketer::new()?, tasks)
    }

    /// The same, with tickets that others may open too, such as [`crate::ZoneTickets`].
    ///
    /// # Errors
    /// As [`PublicCertificate::serve`].
    pub fn serve_resuming(
        certificate: &Path,
        key: &Path,
        tickets: Arc<dyn ProducesTickets>,
        tasks: &Tasks,
    ) -> Result<Arc<ServerConfig>, IdentityError> {
        let public = Self::read(certificate, key)?;
        public.keep(tasks);
        public.server_config(tickets)
    }

    fn read(certificate: &Path, key: &Path) -> Result<Arc<Self>, IdentityError> {
        let current = ArcSwap::from_pointee(certified(certificate, key)?);
        Ok(Arc::new(Self { certificate: certificate.to_owned(), key: key.to_owned(), current }))
    }

    /// Sessions resume by tickets, so that no state is kept for who left; one ticket is sent in each handshake, because a browser uses
    /// a ticket once and opens one stream. Only HTTP/1.1 is offered, because a WebSocket needs it.
    fn server_config(
        self: &Arc<Self>,
        tickets: Arc<dyn ProducesTickets>,
    ) -> Result<Arc<ServerConfig>, IdentityError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = tickets;
        config.send_tls13_tickets = 1;
        Ok(Arc::new(config))
    }

    /// Reads the files again; says whether they hold another certificate than before. After an error the one in use stays.
    fn reload(&self) -> Result<bool, IdentityError> {
        let found = certified(&self.certificate, &self.key)?;
        let changed = found.cert != self.current.load().cert;
        if changed {
            self.current.store(Arc::new(found));
        }
        Ok(changed)
    }

    /// Looks after the files. What is wrong with them is said once, not at every look.
    fn keep(self: &Arc<Self>, tasks: &Tasks) {
        let kept = Arc::clone(self);
        tasks.spawn_until_stop("public certificate", async move {
            let mut said = String::new();
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                match kept.reload() {
                    Ok(true) => tracing::info!("the public certificate is replaced"),
                    Ok(false) => said.clear(),
                    Err(error) => {
                        let text = error.to_string();
                        if text != said {
                            tracing::error!(
                                error = text,
                                "the public certificate's files cannot be used; the one before goes on"
                            );
                        }
                        said = text;
                    }
                }
            }
        });
    }
}

impl ResolvesServerCert for PublicCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn certified(certificate: &Path, key: &Path) -> Result<CertifiedKey, IdentityError> {
    let unusable =
        |path: &Path, reason: String| IdentityError::Certificate(format!("{}: {reason}", path.display()));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(certificate, error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, error.to_string()))?;
    CertifiedKey::from_der(chain, secret, &default_provider())
        .map_err(|error| unusable(certificate, error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Files(tempfile::TempDir);

    impl Files {
        fn write(&self, pair: &(String, String)) {
            fs::write(self.certificate(), &pair.0).unwrap();
            fs::write(self.key(), &pair.1).unwrap();
        }

        fn certificate(&self) -> PathBuf {
            self.0.path().join("chain.pem")
        }

        fn key(&self) -> PathBuf {
            self.0.path().join("key.pem")
        }
    }

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_replaced_certificate_serves_and_a_half_replaced_one_does_not() {
        let files = Files(tempfile::tempdir().unwrap());
        let (first, second) = (pair(), pair());
        files.write(&first);
        let public = PublicCertificate::read(&files.certificate(), &files.key()).unwrap();
        let shown = || public.current.load().cert.clone();
        let before = shown();
        assert!(!public.reload().unwrap());

        fs::write(files.certificate(), &second.0).unwrap();
        assert!(public.reload().is_err(), "the new certificate's key is not there yet");
        assert_eq!(shown(), before);

        files.write(&second);
        assert!(public.reload().unwrap());
        assert_ne!(shown(), before);

        fs::remove_file(files.certificate()).unwrap();
        assert!(public.reload().unwrap_err().to_string().contains("chain.pem"));
        assert!(!shown().is_empty());
    }
}
