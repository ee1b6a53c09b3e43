//! Which database, and how the connection to it is protected.
//!
//! `sslmode` means what it means to PostgreSQL's own clients:
//!
//! | mode | TLS | certificate |
//! |---|---|---|
//! | `disable` | no | |
//! | `prefer` (default) | if the server offers it | not looked at |
//! | `require` | yes | not looked at, but with `sslrootcert` as `verify-ca` |
//! | `verify-ca` | yes | from a known authority |
//! | `verify-full` | yes | from a known authority, and for the host that was asked for |
//!
//! Known are the authorities in the PEM file that `sslrootcert` names; without one, or with `system`, the public ones. A unix socket
//! has no TLS. Nothing of the text is ever shown but the names of its parameters: it may hold a password.

use std::{fmt::Write as _, path::Path, sync::Arc, time::Duration};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use tokio_postgres::{
    Client, Config, Connection, Socket,
    config::{Host, SslMode, SslNegotiation},
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::StoreError;

/// The protected stream, or the plain one where there is no TLS.
type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// For a connection whose configuration sets no limit.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// The text that names a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseUrlError {
    #[error("the database URL cannot be read")]
    Unreadable,
    #[error("sslmode is not one of disable, prefer, require, verify-ca, verify-full")]
    Mode,
    #[error("{0} is not supported in the database URL")]
    Unsupported(&'static str),
    #[error("sslrootcert: {path}: {reason}")]
    Roots { path: String, reason: String },
    #[error("sslmode={0} needs TLS, which a unix socket does not have")]
    Socket(&'static str),
}

impl DatabaseUrlError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable => {
                "It looks like postgresql://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full&sslrootcert=FILE, or like host=HOST user=…"
            }
            Self::Mode => "Take verify-full wherever the network is not yours alone",
            Self::Unsupported(_) => "Leave it out; a client's own certificate is not used for the database",
            Self::Roots { .. } => {
                "It must name a PEM file with the certificate of the database's authority, readable by Meridian"
            }
            Self::Socket(_) => "Leave sslmode out; nobody listens in on a unix socket",
        }
    }
}

/// Why a connection was not protected as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    NotOffered,
    UnknownAuthority,
    WrongName,
    OutOfTime,
    Certificate,
    Handshake,
}

impl TlsFault {
    /// What failed, in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::NotOffered => "the server offers no TLS, and sslmode demands it",
            Self::UnknownAuthority => "the server's certificate is from an authority that is not known here",
            Self::WrongName => "the server's certificate is not for the host that was asked for",
            Self::OutOfTime => "the server's certificate has expired, or is not valid yet",
            Self::Certificate => "the server's certificate cannot be trusted",
            Self::Handshake => "the TLS handshake failed",
        }
    }

    /// What an administrator does about it.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::NotOffered => {
                "Turn ssl on at the database server, or take sslmode=disable where the network is yours alone"
            }
            Self::UnknownAuthority => {
                "Name the PEM file with the authority's certificate in the database URL: sslrootcert=FILE"
            }
            Self::WrongName => {
                "Name the database by a host that its certificate is for, or take sslmode=verify-ca"
            }
            Self::OutOfTime => {
                "Renew the certificate at the database server, and look at both machines' clocks"
            }
            Self::Certificate => "Give the database server a certificate that its clients can verify",
            Self::Handshake => {
                "Look at the database server's log; it must speak TLS 1.2 or 1.3 with a common cipher suite"
            }
        }
    }

    /// None when the connection failed for another reason than TLS.
    pub(super) fn of(error: &tokio_postgres::Error) -> Option<Self> {
        let mut next = std::error::Error::source(error);
        while let Some(cause) = next {
            // An I/O error hands out what its inner error was caused by, and not that error itself.
            let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            let inner = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
            if let Some(fault) = inner.or_else(|| cause.downcast_ref::<rustls::Error>()) {
                return Some(Self::of_rustls(fault));
            }
            next = cause.source();
        }
        // The client library has no code for it.
        let text = std::error::Error::source(error).map(ToString::to_string);
        (text.as_deref() == Some("server does not support TLS")).then_some(Self::NotOffered)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the library's enums, which grow")]
    fn of_rustls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(reason) => match reason {
                CertificateError::UnknownIssuer => Self::UnknownAuthority,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Self::WrongName
                }
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::OutOfTime,
                _ => Self::Certificate,
            },
            _ => Self::Handshake,
        }
    }
}

/// A database to connect to. Clones are cheap.
#[derive(Clone)]
pub struct Database {
    pub(super) config: Config,
    pub(super) tls: MakeRustlsConnect,
}

impl From<Config> for Database {
    /// Protected where the server offers it, whoever the server is.
    fn from(config: Config) -> Self {
        Self::new(config, Arc::new(Verifier::new(Check::Nothing)))
    }
}

impl Database {
    /// Reads a URL or a list of `key=value`, as `--database-url` takes them.
    ///
    /// # Errors
    /// As [`DatabaseUrlError`] says; the text itself is not in it.
    pub fn parse(text: &str) -> Result<Self, DatabaseUrlError> {
        let mut text = text.trim().to_owned();
        let mode = take_parameter(&mut text, "sslmode")?.unwrap_or_else(|| "prefer".into());
        let roots = take_parameter(&mut text, "sslrootcert")?;
        for name in ["sslcert", "sslkey", "sslpassword", "sslcrl", "sslcrldir"] {
            if take_parameter(&mut text, name)?.is_some() {
                return Err(DatabaseUrlError::Unsupported(name));
            }
        }
        let mut config: Config = text.parse().map_err(|_| DatabaseUrlError::Unreadable)?;
        let (ssl_mode, check) = match (mode.as_str(), roots.as_deref()) {
            ("disable", _) => (SslMode::Disable, Check::Nothing),
            ("prefer", _) => (SslMode::Prefer, Check::Nothing),
            ("require", None) => (SslMode::Require, Check::Nothing),
            ("require" | "verify-ca", roots) => (SslMode::Require, Check::Authority(Roots::open(roots)?)),
            ("verify-full", roots) => (SslMode::Require, Check::Full(Roots::open(roots)?)),
            _ => return Err(DatabaseUrlError::Mode),
        };
        let sockets = config.get_hosts().iter().filter(|host| matches!(host, Host::Unix(_))).count();
        if sockets > 0 && sockets == config.get_hosts().len() {
            match check {
                Check::Nothing => config.ssl_mode(SslMode::Disable),
                // Whoever asks for a proof of identity must not go without it unawares.
                Check::Authority(_) => return Err(DatabaseUrlError::Socket("verify-ca")),
                Check::Full(_) => return Err(DatabaseUrlError::Socket("verify-full")),
            };
        } else {
            config.ssl_mode(ssl_mode);
        }
        Ok(Self::new(config, Arc::new(Verifier::new(check))))
    }

    fn new(mut config: Config, verifier: Arc<Verifier>) -> Self {
        if config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)))
            && config.get_hostaddrs().is_empty()
        {
            config.ssl_mode(SslMode::Disable);
        }
        if config.get_hosts().is_empty() {
            // An address is a name that a certificate can be for, too; without a name there would be no TLS at all.
            for address in config.get_hostaddrs().to_vec() {
                config.host(address.to_string());
            }
        }
        let provider = Arc::clone(&verifier.provider);
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for the default versions")
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        if config.get_ssl_negotiation() == SslNegotiation::Direct {
            tls.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Self { config, tls: MakeRustlsConnect::new(tls) }
    }

    /// A connection of its own. The caller drives the second part.
    ///
    /// # Errors
    /// When it does not come about within the configuration's limit, the handshake included.
    pub(crate) async fn connect(&self) -> Result<(Client, Connection<Socket, Stream>), StoreError> {
        let limit = self.config.get_connect_timeout().copied().unwrap_or(CONNECT_LIMIT);
        let connecting = self.config.connect(self.tls.clone());
        Ok(tokio::time::timeout(limit, connecting).await.map_err(|_| StoreError::Timeout)??)
    }
}

/// Known authorities.
#[derive(Debug)]
struct Roots {
    verifier: Arc<WebPkiServerVerifier>,
    /// Certificates of the operator's own file.
    given: Vec<CertificateDer<'static>>,
}

impl Roots {
    fn open(path: Option<&str>) -> Result<Self, DatabaseUrlError> {
        let mut store = RootCertStore::empty();
        let mut given = Vec::new();
        match path {
            None | Some("system") => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(path) => {
                let wrong = |reason: String| DatabaseUrlError::Roots { path: path.to_owned(), reason };
                given = CertificateDer::pem_file_iter(Path::new(path))
                    .and_then(Iterator::collect)
                    .map_err(|error| wrong(error.to_string()))?;
                if store.add_parsable_certificates(given.iter().cloned()).0 == 0 {
                    return Err(wrong("there is no certificate in it".into()));
                }
            }
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider)
            .build()
            .map_err(|error| DatabaseUrlError::Roots {
                path: path.unwrap_or("system").to_owned(),
                reason: error.to_string(),
            })?;
        Ok(Self { verifier, given })
    }
}

/// What of a server's certificate is looked at.
#[derive(Debug)]
enum Check {
    Nothing,
    Authority(Roots),
    Full(Roots),
}

/// Judges a server's certificate; its proof that it holds the key is always asked for.
#[derive(Debug)]
struct Verifier {
    check: Check,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(check: Check) -> Self {
        Self { check, provider: Arc::new(aws_lc_rs::default_provider()) }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let (roots, name_counts) = match &self.check {
            Check::Nothing => return Ok(ServerCertVerified::assertion()),
            Check::Authority(roots) => (roots, false),
            Check::Full(roots) => (roots, true),
        };
        // What `openssl req -x509` makes is authority and server in one, which no chain can be built for. The operator named it itself.
        if roots.given.iter().any(|given| given == end_entity) {
            if name_counts {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        let verdict =
            roots.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            // The chain is judged before the name.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !name_counts => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes a parameter that the client library does not know out of the text; the last one counts.
fn take_parameter(text: &mut String, name: &str) -> Result<Option<String>, DatabaseUrlError> {
    if text.starts_with("postgresql://") || text.starts_with("postgres://") {
        return Ok(take_from_url(text, name));
    }
    let mut found = None;
    let mut rest = String::new();
    for (key, value) in pairs(text)? {
        if key == name {
            found = Some(value);
        } else {
            let value = value.replace('\\', "\\\\").replace('\'', "\\'");
            let _ = write!(rest, "{key}='{value}' ");
        }
    }
    *text = rest;
    Ok(found)
}

fn take_from_url(text: &mut String, name: &str) -> Option<String> {
    // A password may have a question mark; what follows the credentials is where parameters are looked for.
    let credentials = text.find('@').map_or(0, |at| at + 1);
    let start = credentials + text[credentials..].find('?')?;
    let (mut found, mut kept) = (None, Vec::new());
    for pair in text[start + 1..].split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some((key, value)) if key == name => found = Some(unescape(value)),
            _ => kept.push(pair),
        }
    }
    let kept = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    *text = format!("{}{kept}", &text[..start]);
    found
}

/// Percent-encoding undone; what is none stays as it is.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| first == b'%').and_then(|code| hex::decode(code).ok());
        match code.as_deref() {
            Some(&[byte]) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `key = value` with the quoting of PostgreSQL's connection strings.
fn pairs(text: &str) -> Result<Vec<(String, String)>, DatabaseUrlError> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or(DatabaseUrlError::Unreadable)?;
        let after = after.trim_start();
        let quoted = after.starts_with('\'');
        let mut value = String::new();
        let mut characters = after.char_indices().skip(usize::from(quoted));
        let mut end = after.len();
        let mut closed = !quoted;
        while let Some((index, character)) = characters.next() {
            match character {
                '\\' => value.push(characters.next().ok_or(DatabaseUrlError::Unreadable)?.1),
                '\'' if quoted => {
                    (end, closed) = (index + 1, true);
                    break;
                }
                space if !quoted && space.is_ascii_whitespace() => {
                    end = index;
                    break;
                }
                other => value.push(other),
            }
        }
        if !closed {
            return Err(DatabaseUrlError::Unreadable);
        }
        pairs.push((key.trim().to_owned(), value));
        rest = after[end..].trim_start();
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_are_taken_out_of_both_forms() {
        let mut url =
            "postgresql://ada:a?b=1@db/x?sslmode=verify-full&a=b&sslrootcert=%2Fetc%2Fca.pem".to_owned();
        assert_eq!(take_parameter(&mut url, "sslmode").unwrap().as_deref(), Some("verify-full"));
        assert_eq!(take_parameter(&mut url, "sslrootcert").unwrap().as_deref(), Some("/etc/ca.pem"));
        assert_eq!(url, "postgresql://ada:a?b=1@db/x?a=b");
        let mut words = r"host=db password='it\'s \\ a secret' sslmode = verify-ca user=ada".to_owned();
        assert_eq!(take_parameter(&mut words, "sslmode").unwrap().as_deref(), Some("verify-ca"));
        let config: Config = words.parse().unwrap();
        assert_eq!(config.get_password(), Some(br"it's \ a secret".as_slice()));
        assert_eq!(config.get_user(), Some("ada"));
        assert!(take_parameter(&mut "host='db".to_owned(), "sslmode").is_err());
    }

    #[test]
    fn tcp_prefers_tls_and_a_socket_has_none() {
        let mode = |text: &str| Database::parse(text).map(|database| database.config.get_ssl_mode());
        assert_eq!(mode("postgresql://ada@db/x").unwrap(), SslMode::Prefer);
        assert_eq!(mode("postgresql://ada@db/x?sslmode=require").unwrap(), SslMode::Require);
        assert_eq!(mode("postgresql://ada@db/x?sslmode=verify-full").unwrap(), SslMode::Require);
        assert_eq!(mode("host=db user=ada sslmode=disable").unwrap(), SslMode::Disable);
        assert_eq!(mode("postgresql://ada@%2Frun%2Fpostgresql/x").unwrap(), SslMode::Disable);
        assert_eq!(mode("host=/run/postgresql user=ada").unwrap(), SslMode::Disable);
    }

    #[test]
    fn what_cannot_be_done_is_said_without_the_password() {
        let error = |text: &str| match Database::parse(text) {
            Ok(_) => panic!("{text} was taken"),
            Err(error) => error.to_string(),
        };
        assert!(error("postgresql://ada:secret@db/x?sslmode=allow").contains("verify-full"));
        assert!(error("postgresql://ada:secret@db/x?sslcert=a.pem").contains("sslcert"));
        assert!(
            error("postgresql://ada:secret@db/x?sslmode=verify-ca&sslrootcert=/no/such").contains("/no/such")
        );
        assert!(error("host=/run/postgresql user=ada sslmode=verify-full").contains("unix socket"));
        for text in ["postgresql://ada:secret@db:port/x", "host=db password=secret nonsense=1"] {
            assert!(!error(text).contains("secret"));
        }
    }
}
