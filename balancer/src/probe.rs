//! One check of one backend: dials, shakes hands, asks, as far as its kind goes.
//!
//! A check sends nothing secret and decides nothing but where connections go, so it does not judge the certificate that it is
//! shown: that is for the clients whose TLS is passed through, and who would refuse a wrong one.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header::HOST, uri::PathAndQuery};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use meridian_origin::own_header;
use meridian_settings::{CheckKind, CheckSettings, RouteSettings};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use crate::{BalanceError, dial::is_local, metrics::CheckEnd, plan::at_least_one};

/// How much of an answer is looked through.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// How much of an answer's head is read.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// What a check found.
pub(crate) type Found = Result<(), Failed>;

/// A check that did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) end: CheckEnd,
    pub(crate) why: String,
}

/// How a rule's backends are checked.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) tls: Option<ProbeTls>,
    pub(crate) question: Option<Question>,
    /// Another port of the backend's host.
    pub(crate) port: Option<u16>,
    /// Name for the handshake and the question; none: the backend's host.
    pub(crate) host: Option<String>,
    /// What a backend expects before anything else: a header in which this balancer speaks for itself.
    pub(crate) header: Option<Vec<u8>>,
    pub(crate) limit: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct ProbeTls(pub(crate) Arc<ClientConfig>);

/// What is asked by HTTP, and the answer that is good.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) path: PathAndQuery,
    pub(crate) status: StatusCode,
    pub(crate) body: Option<String>,
}

fn unreachable(why: impl ToString) -> Failed {
    Failed { end: CheckEnd::Unreachable, why: why.to_string() }
}

fn sick(why: impl ToString) -> Failed {
    Failed { end: CheckEnd::Sick, why: why.to_string() }
}

impl Probe {
    /// # Errors
    /// When the check makes no sense.
    pub(crate) fn new(check: &CheckSettings, route: &RouteSettings) -> Result<Self, BalanceError> {
        let (tls, asks) = match check.kind {
            CheckKind::Tcp => (false, false),
            CheckKind::Tls => (true, false),
            CheckKind::Http => (false, true),
            CheckKind::Https => (true, true),
        };
        if !asks && check.body.is_some() {
            return Err(BalanceError::Check("`body` needs the kind `http` or `https`".into()));
        }
        let question = || {
            Ok::<_, BalanceError>(Question {
                path: PathAndQuery::try_from(check.path.as_str())
                    .ok()
                    .filter(|path| path.as_str().starts_with('/'))
                    .ok_or_else(|| BalanceError::Check(format!("`{}` is no path", check.path)))?,
                status: StatusCode::from_u16(check.status)
                    .map_err(|_| BalanceError::Check(format!("{} is no HTTP status", check.status)))?,
                body: check.body.clone(),
            })
        };
        // Another port of the host is an operators' listener, which expects none.
        let with_header = route.proxy_protocol && check.port.is_none() && (asks || tls);
        let exact = route.sni.clone().filter(|sni| !sni.starts_with('*'));
        Ok(Self {
            tls: tls.then(probe_tls).transpose().map_err(|error| BalanceError::Check(error.to_string()))?,
            question: asks.then(question).transpose()?,
            port: check.port,
            host: check.host.clone().or(exact),
            header: with_header
                .then(own_header)
                .transpose()
                .map_err(|error| BalanceError::Check(error.to_string()))?,
            limit: Duration::from_millis(at_least_one(check.timeout_ms, "check.timeout_ms")?),
        })
    }

    /// Checks the backend at `address`, which is `host:port`.
    pub(crate) async fn run(&self, address: &str) -> Found {
        let deadline = Instant::now() + self.limit;
        let limit = self.limit.as_millis();
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let target = match self.port {
            Some(port) => format!("{host}:{port}"),
            None => address.to_owned(),
        };
        let host = self.host.as_deref().unwrap_or(host.trim_matches(['[', ']']));
        let mut socket = timeout_at(deadline, TcpStream::connect(&target))
            .await
            .map_err(|_| unreachable(format!("no answer to a dial within {limit} ms")))?
            .map_err(|error| match is_local(&error) {
                true => Failed { end: CheckEnd::Local, why: error.to_string() },
                false => unreachable(error),
            })?;
        if let Some(header) = &self.header {
            timeout_at(deadline, socket.write_all(header))
                .await
                .map_err(unreachable)?
                .map_err(unreachable)?;
        }
        let Some(tls) = &self.tls else { return self.ask(socket, host, deadline).await };
        let name = ServerName::try_from(host.to_owned()).map_err(sick)?;
        let shaken = timeout_at(deadline, TlsConnector::from(tls.0.clone()).connect(name, socket))
            .await
            .map_err(|_| unreachable(format!("no TLS handshake within {limit} ms")))?;
        // Something that answers with an alert, or not in TLS, is there.
        let stream = shaken.map_err(|error| sick(format!("TLS handshake: {error}")))?;
        self.ask(stream, host, deadline).await
    }

    async fn ask<S>(&self, stream: S, host: &str, deadline: Instant) -> Found
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(question) = &self.question else { return Ok(()) };
        timeout_at(deadline, question.ask(stream, host)).await.map_err(|_| {
            sick(format!("no answer to {} within {} ms", question.path, self.limit.as_millis()))
        })?
    }
}

impl Question {
    async fn ask<S>(&self, stream: S, host: &str) -> Found
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(sick)?;
        let request = Request::get(self.path.as_str())
            .header(HOST, host)
            .header("user-agent", "meridian-balance")
            .header("connection", "close")
            .body(Empty::<Bytes>::new())
            .map_err(sick)?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(sick)?;
            if answer.status() != self.status {
                return Err(sick(format!("{} answered {}", self.path, answer.status())));
            }
            match &self.body {
                None => Ok(()),
                Some(wanted) => holds(answer.into_body(), wanted).await,
            }
        };
        tokio::pin!(exchange, connection);
        tokio::select! {
            biased;
            found = &mut exchange => return found,
            _ = &mut connection => {}
        }
        // The connection ended after its last words, which the exchange may still have to hear.
        exchange.await
    }
}

async fn holds(mut body: hyper::body::Incoming, wanted: &str) -> Found {
    let mut heard = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(sick)?.into_data() else { continue };
        heard.extend_from_slice(&data[..data.len().min(MAX_BODY_BYTES - heard.len())]);
        if heard.len() == MAX_BODY_BYTES {
            break;
        }
    }
    match String::from_utf8_lossy(&heard).contains(wanted) {
        true => Ok(()),
        false => Err(sick(format!("the answer does not hold `{wanted}`"))),
    }
}

/// A client configuration that takes any certificate whose signature over the handshake is right.
fn probe_tls() -> Result<ProbeTls, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let any = Arc::new(any_certificate::Any(provider.signature_verification_algorithms));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(any)
        .with_no_client_auth();
    Ok(ProbeTls(Arc::new(config)))
}

mod any_certificate {
    use rustls::{
        DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime},
    };

    #[derive(Debug)]
    pub(super) struct Any(pub(super) WebPkiSupportedAlgorithms);

    impl ServerCertVerifier for Any {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, certificate, signed, &self.0)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signed, &self.0)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.supported_schemes()
        }
    }
}
