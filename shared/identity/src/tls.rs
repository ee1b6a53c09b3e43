//! Mutual TLS between nodes, with a certificate that can be replaced under live connections.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use meridian_model::NodeRole;
use rustls::{
    CipherSuite, ClientConfig, RootCertStore, ServerConfig,
    client::{ResolvesClientCert, Resumption},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::{IdentityError, NodeKey, NodeName, remembered::Remembered};

/// Sessions that a listener keeps for those who dialled it, each with its client's certificate: some 2 KB.
const KEPT_SESSIONS: usize = 2048;

/// Makes aws-lc-rs the process's one provider of cryptography. Every executable and test calls it first; again does nothing.
pub fn install_crypto_provider() {
    // An error only means that it is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn provider() -> Arc<CryptoProvider> {
    install_crypto_provider();
    CryptoProvider::get_default().cloned().expect("installed on the line above")
}

/// The provider with AES-128 first, as browsers offer it. Its hash is the one that processors have instructions for, which a handshake is
/// half made of, and its records cost less than those of AES-256.
fn quick_provider() -> Arc<CryptoProvider> {
    let mut quick = CryptoProvider::clone(&provider());
    quick.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(quick)
}

/// A node's TLS: both its ends take the current certificate at each handshake.
#[derive(Clone)]
pub struct NodeTls {
    current: Arc<Current>,
    roots: Arc<RootCertStore>,
}

#[derive(Debug)]
struct Current {
    certified: ArcSwap<CertifiedKey>,
    validity: ArcSwap<Validity>,
}

#[derive(Clone, Copy, Debug)]
struct Validity {
    not_before_s: i64,
    not_after_s: i64,
}

/// The other end of a mutual-TLS connection, as its certificate says.
pub type Peer = NodeName;

impl NodeTls {
    /// # Errors
    /// When key, certificate and authority do not make an identity.
    pub fn new(key: &NodeKey, certificate_pem: &str, ca_pem: &str) -> Result<Self, IdentityError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca_pem)? {
            roots.add(certificate)?;
        }
        let (certified, validity) = certified(key, certificate_pem)?;
        let current = Current {
            certified: ArcSwap::from_pointee(certified),
            validity: ArcSwap::from_pointee(validity),
        };
        Ok(Self { current: Arc::new(current), roots: Arc::new(roots) })
    }

    /// Takes a renewed certificate: for handshakes from now on.
    ///
    /// # Errors
    /// When key and certificate do not fit; the old ones stay.
    pub fn replace(&self, key: &NodeKey, certificate_pem: &str) -> Result<(), IdentityError> {
        let (certified, validity) = certified(key, certificate_pem)?;
        self.current.certified.store(Arc::new(certified));
        self.current.validity.store(Arc::new(validity));
        Ok(())
    }

    /// Whether two thirds of the certificate's life are over.
    #[must_use]
    pub fn renewal_due(&self, now: Timestamp) -> bool {
        let validity = self.current.validity.load();
        let life = validity.not_after_s - validity.not_before_s;
        now.as_second() >= validity.not_before_s + life * 2 / 3
    }

    /// For a listener of other nodes: a client without a certificate of our authority is refused in the handshake.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let verifier = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider())
            .build()
            .expect("the roots are not empty: an identity has an authority");
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider speaks TLS 1.2 and 1.3")
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(self.current.clone());
        config.session_storage = ServerSessionMemoryCache::new(KEPT_SESSIONS);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// For dialling other nodes; the server's name is checked as usual, against our authority alone.
    #[must_use]
    pub fn client_config(&self) -> Arc<ClientConfig> {
        let mut config = ClientConfig::builder_with_provider(quick_provider())
            .with_safe_default_protocol_versions()
            .expect("the provider speaks TLS 1.2 and 1.3")
            .with_root_certificates(self.roots.clone())
            .with_client_cert_resolver(self.current.clone());
        config.resumption = Resumption::store(Arc::new(Remembered::default()));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }

    /// Who is at the other end of an established connection, when it may be one of `roles`.
    #[must_use]
    pub fn peer(certificates: Option<&[CertificateDer<'_>]>, roles: &[NodeRole]) -> Option<Peer> {
        let certificate = certificates?.first()?;
        let name = names(certificate)?.iter().find_map(|name| NodeName::parse(name))?;
        roles.contains(&name.role).then_some(name)
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certified.load_full())
    }
}

impl ResolvesClientCert for Current {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.certified.load_full())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| IdentityError::Certificate(error.to_string()))
}

fn certified(key: &NodeKey, certificate_pem: &str) -> Result<(CertifiedKey, Validity), IdentityError> {
    let chain = certificates(certificate_pem)?;
    let first = chain.first().ok_or_else(|| IdentityError::Certificate("there is none".into()))?;
    let (_, parsed) =
        X509Certificate::from_der(first).map_err(|error| IdentityError::Certificate(error.to_string()))?;
    let validity = Validity {
        not_before_s: parsed.validity().not_before.timestamp(),
        not_after_s: parsed.validity().not_after.timestamp(),
    };
    let der = PrivateKeyDer::try_from(key.pair.serialize_der()).map_err(|_| IdentityError::Key)?;
    let certified = CertifiedKey::from_der(chain, der, &provider())?;
    Ok((certified, validity))
}

fn names(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum: only DNS names name nodes")]
    let dns = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(text) => Some((*text).to_owned()),
        _ => None,
    });
    Some(dns.collect())
}

#[cfg(test)]
mod tests {
    use meridian_ids::{DeploymentId, NodeId, ZoneId};
    use meridian_runtime::Clock;
    use rustls::HandshakeKind;

    use super::*;
    use crate::{Authority, LIFETIME_DAYS};

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + day * 86_400).unwrap()
    }

    #[test]
    fn a_certificate_is_due_for_renewal_at_two_thirds_of_its_life_and_can_be_replaced() {
        let authority = Authority::generate(DeploymentId::generate(), at(0)).unwrap();
        let authority = Authority::from_pem(authority.certificate_pem(), &authority.key_pem()).unwrap();
        let name =
            NodeName { node: NodeId::generate(), role: NodeRole::Agent, zone: Some(ZoneId::generate()) };
        let key = NodeKey::generate().unwrap();
        let issue =
            |key: &NodeKey, now| authority.issue(&key.request_pem().unwrap(), &name, &[], now).unwrap();
        let first = issue(&key, at(0));
        assert_eq!(first.public_point, key.public_point());
        let tls = NodeTls::new(&key, &first.certificate_pem, authority.certificate_pem()).unwrap();
        assert!(!tls.renewal_due(at(LIFETIME_DAYS * 2 / 3 - 1)));
        assert!(tls.renewal_due(at(LIFETIME_DAYS * 2 / 3)));
        let renewed = NodeKey::generate().unwrap();
        tls.replace(&renewed, &issue(&renewed, at(20)).certificate_pem).unwrap();
        assert!(!tls.renewal_due(at(20)));
        assert!(
            tls.replace(&key, &issue(&renewed, at(20)).certificate_pem).is_err(),
            "key and certificate differ"
        );
    }

    fn identity(authority: &Authority, role: NodeRole) -> (NodeTls, NodeName) {
        let name = NodeName { node: NodeId::generate(), role, zone: Some(ZoneId::generate()) };
        let key = NodeKey::generate().unwrap();
        let request = key.request_pem().unwrap();
        let issued = authority.issue(&request, &name, &[], Clock::system().now()).unwrap();
        (NodeTls::new(&key, &issued.certificate_pem, authority.certificate_pem()).unwrap(), name)
    }

    /// One connection between two nodes: how it was begun, and who the server takes the client for. The ciphers are the quick ones.
    async fn meet(
        server: Arc<ServerConfig>,
        client: Arc<ClientConfig>,
        name: &NodeName,
    ) -> (Option<HandshakeKind>, Option<Peer>) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (near, far) = tokio::io::duplex(64 * 1024);
        let name = name.to_string().try_into().unwrap();
        let serving = async {
            let mut stream = tokio_rustls::TlsAcceptor::from(server).accept(near).await.unwrap();
            stream.write_all(b"x").await.unwrap();
            let connection = stream.get_ref().1;
            let peer = NodeTls::peer(connection.peer_certificates(), &[NodeRole::Proxy]);
            let kind = connection.handshake_kind();
            let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
            assert_eq!(suite, Some(CipherSuite::TLS13_AES_128_GCM_SHA256));
            stream.shutdown().await.unwrap();
            (kind, peer)
        };
        let asking = async {
            let mut stream = tokio_rustls::TlsConnector::from(client).connect(name, far).await.unwrap();
            // The session to resume comes with the first bytes.
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        };
        let (met, ()) = tokio::join!(serving, asking);
        met
    }

    #[tokio::test]
    async fn a_resumed_connection_between_nodes_still_knows_its_client() {
        let authority = Authority::generate(DeploymentId::generate(), Clock::system().now()).unwrap();
        let (agent, agent_name) = identity(&authority, NodeRole::Agent);
        let (first, first_name) = identity(&authority, NodeRole::Proxy);
        let (second, second_name) = identity(&authority, NodeRole::Proxy);
        let server = agent.server_config();
        let (first, second) = (first.client_config(), second.client_config());
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            let met = meet(server.clone(), first.clone(), &agent_name).await;
            assert_eq!(met, (Some(kind), Some(first_name)));
            let met = meet(server.clone(), second.clone(), &agent_name).await;
            assert_eq!(met, (Some(kind), Some(second_name)));
        }
    }

    #[tokio::test]
    async fn as_many_connections_resume_at_once_as_were_begun_before() {
        let authority = Authority::generate(DeploymentId::generate(), Clock::system().now()).unwrap();
        let ((agent, agent_name), (proxy, proxy_name)) =
            (identity(&authority, NodeRole::Agent), identity(&authority, NodeRole::Proxy));
        let (server, client) = (agent.server_config(), proxy.client_config());
        let meet_all = || {
            let meetings = (0..40).map(|_| meet(server.clone(), client.clone(), &agent_name));
            futures_util::future::join_all(meetings)
        };
        for (met, number) in meet_all().await.into_iter().zip(1..) {
            assert_eq!(met.1, Some(proxy_name), "connection {number}");
        }
        for (met, number) in meet_all().await.into_iter().zip(1..) {
            assert_eq!(met, (Some(HandshakeKind::Resumed), Some(proxy_name)), "connection {number}");
        }
    }
}
