//! Against rustls's ordinary streams at the other end, in both roles and both versions of TLS.

use std::{sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    client::UnbufferedClientConnection,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, ServerName},
    server::UnbufferedServerConnection,
    version::{TLS12, TLS13},
};
use tokio::net::TcpListener;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

const NAME: &str = "a.example";
const LIMIT: Duration = Duration::from_secs(20);

fn configs(version: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    server.ticketer = aws_lc_rs::Ticketer::new().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

fn name() -> ServerName<'static> {
    ServerName::try_from(NAME).unwrap()
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// Sends two megabytes and hears as many at the same time; then has or hears the last word.
async fn exchange(stream: impl AsyncRead + AsyncWrite, last_word: Option<&[u8]>) -> Vec<u8> {
    let sent: Vec<u8> = (0..2_000_003_u32).map(|number| (number / 3) as u8).collect();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut heard = vec![0; sent.len()];
    let writing = async {
        for piece in sent.chunks(77_777) {
            writer.write_all(piece).await.unwrap();
        }
        writer.flush().await.unwrap();
    };
    let (read, ()) = tokio::join!(reader.read_exact(&mut heard), writing);
    read.unwrap();
    assert!(heard == sent, "what came differs from what was sent");
    let mut rest = Vec::new();
    match last_word {
        None => {
            writer.shutdown().await.unwrap();
            reader.read_to_end(&mut rest).await.unwrap();
        }
        Some(word) => {
            // The other side's half-close is heard first, and this side may still speak.
            reader.read_to_end(&mut rest).await.unwrap();
            writer.write_all(word).await.unwrap();
            writer.shutdown().await.unwrap();
        }
    }
    rest
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(LIMIT, future).await.unwrap()
}

#[tokio::test]
async fn a_server_speaks_with_ordinary_clients() {
    for version in [&TLS12, &TLS13] {
        let (server, client) = configs(version);
        let connector = TlsConnector::from(client);
        // The second handshake resumes the first one's session.
        for last_of_ours in [true, false] {
            let (near, far) = sockets().await;
            let session = UnbufferedServerConnection::new(server.clone()).unwrap();
            let (ours, theirs) = within(async {
                tokio::join!(QuietTls::handshake(near, session), connector.connect(name(), far))
            })
            .await;
            let word = |has: bool| has.then_some(&b"last word"[..]);
            let both = async {
                tokio::join!(
                    exchange(ours.unwrap(), word(last_of_ours)),
                    exchange(theirs.unwrap(), word(!last_of_ours))
                )
            };
            let (ours, theirs) = within(both).await;
            let heard = if last_of_ours { theirs } else { ours };
            assert_eq!(heard, b"last word");
        }
    }
}

#[tokio::test]
async fn a_client_speaks_with_ordinary_servers() {
    for version in [&TLS12, &TLS13] {
        let (server, client) = configs(version);
        let acceptor = TlsAcceptor::from(server);
        for last_of_ours in [true, false] {
            let (near, far) = sockets().await;
            let session = UnbufferedClientConnection::new(client.clone(), name()).unwrap();
            let (ours, theirs) =
                within(async { tokio::join!(QuietTls::handshake(near, session), acceptor.accept(far)) })
                    .await;
            let word = |has: bool| has.then_some(&b"last word"[..]);
            let both = async {
                tokio::join!(
                    exchange(ours.unwrap(), word(last_of_ours)),
                    exchange(theirs.unwrap(), word(!last_of_ours))
                )
            };
            let (ours, theirs) = within(both).await;
            let heard = if last_of_ours { theirs } else { ours };
            assert_eq!(heard, b"last word");
        }
    }
}

#[tokio::test]
async fn an_idle_stream_keeps_nothing_and_an_abrupt_end_is_no_proper_one() {
    let (server, client) = configs(&TLS13);
    let (near, far) = sockets().await;
    let session = UnbufferedServerConnection::new(server).unwrap();
    let connector = TlsConnector::from(client);
    let (ours, theirs) =
        within(async { tokio::join!(QuietTls::handshake(near, session), connector.connect(name(), far)) })
            .await;
    let (mut ours, mut theirs) = (ours.unwrap(), theirs.unwrap());
    let mut heard = [0; 30];
    theirs.write_all(&[7; 30]).await.unwrap();
    within(ours.read_exact(&mut heard)).await.unwrap();
    ours.write_all(&[8; 30]).await.unwrap();
    within(theirs.read_exact(&mut heard)).await.unwrap();
    let kept = ours.incoming.capacity() + ours.plain.capacity() + ours.outgoing.capacity();
    assert_eq!(kept, 0);
    drop(theirs);
    let end = within(ours.read(&mut heard)).await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn rubbish_ends_a_handshake_with_an_alert() {
    let (server, client) = configs(&TLS13);
    let (near, mut far) = sockets().await;
    let session = UnbufferedServerConnection::new(server).unwrap();
    far.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(within(QuietTls::handshake(near, session)).await.is_err());
    let (near, far) = sockets().await;
    let other = ServerName::try_from("b.example").unwrap();
    let session = UnbufferedClientConnection::new(client, other).unwrap();
    let (server, _) = configs(&TLS13);
    let acceptor = TlsAcceptor::from(server);
    let (ours, theirs) =
        within(async { tokio::join!(QuietTls::handshake(near, session), acceptor.accept(far)) }).await;
    assert!(ours.is_err());
    let told = theirs.err().unwrap().to_string();
    assert!(told.contains("alert"), "{told}");
}
