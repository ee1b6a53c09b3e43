//! PROXY headers, in and out.

use std::net::SocketAddr;

use meridian_balancer::{HeaderReader, Origin, Refused, header_of};
use rustls::RootCertStore;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{peers::haproxy, world::*};

const TRUST: &str = "trusted_proxies = [\"127.0.0.0/8\"]\n";

/// Reads a PROXY header and answers with the client it names, and what comes after.
async fn header_backend() -> Server {
    Server::start(|mut socket| async move {
        let mut reader = HeaderReader::default();
        let told = loop {
            let mut piece = vec![0; reader.wants()];
            let Ok(count @ 1..) = socket.read(&mut piece).await else { return };
            if let Some(told) = reader.push(&piece[..count]).unwrap() {
                break told.unwrap();
            }
        };
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
        let rest = String::from_utf8_lossy(&rest).into_owned();
        let _ = socket.write_all(format!("{}|{}|{rest}", told.client, told.server).as_bytes()).await;
    })
    .await
}

fn told() -> (Origin, Vec<u8>) {
    let origin =
        Origin { client: "192.0.2.7:4711".parse().unwrap(), server: "198.51.100.1:443".parse().unwrap() };
    (origin, header_of(origin).unwrap())
}

async fn ask_from(address: SocketAddr, words: &[u8]) -> (SocketAddr, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let own = socket.local_addr().unwrap();
    socket.write_all(words).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = String::new();
    within("the answer", socket.read_to_string(&mut answer)).await.unwrap();
    (own, answer)
}

#[tokio::test]
async fn a_backend_is_told_where_a_connection_is_from() {
    let backend = header_backend().await;
    let Balance { bound, .. } = balance(&(rule(None, &[backend.address]) + "proxy_protocol = true\n")).await;
    // A header of the client's own is content like any other here.
    for words in ["hello".as_bytes(), b"PROXY TCP4 "] {
        let (own, answer) = ask_from(bound.local_addr, words).await;
        assert_eq!(answer, format!("{own}|{}|{}", bound.local_addr, String::from_utf8_lossy(words)));
    }
}

#[tokio::test]
async fn a_trusted_balancers_header_counts_and_is_passed_on() {
    let backend = header_backend().await;
    let rules = TRUST.to_owned() + &rule(None, &[backend.address]) + "proxy_protocol = true\n";
    let Balance { bound, .. } = balance(&rules).await;
    let (_, header) = told();
    let (_, answer) = ask_from(bound.local_addr, &[&header[..], b"hello"].concat()).await;
    assert_eq!(answer, "192.0.2.7:4711|198.51.100.1:443|hello");
}

#[tokio::test]
async fn tls_behind_a_trusted_balancers_header_goes_by_its_server_name() {
    let mut roots = RootCertStore::empty();
    let web = tls_backend("web", &mut roots, "web.meridian").await;
    let Balance { bound, .. } =
        balance(&(TRUST.to_owned() + &rule(Some("web.meridian"), &[web.address]))).await;
    let mut socket = TcpStream::connect(bound.local_addr).await.unwrap();
    // Byte by byte, so that the header ends in the middle of nothing.
    for byte in told().1 {
        socket.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(within("TLS", ask_tls_on(socket, &roots, "web.meridian")).await.unwrap(), "web");
}

#[tokio::test]
async fn a_trusted_balancer_must_say_where_a_connection_is_from() {
    let backend = plain_backend("b").await;
    let Balance { bound, .. } = balance(&(TRUST.to_owned() + &rule(None, &[backend]))).await;
    let endless = [&told().1[..14], &[0xff, 0xff]].concat();
    for words in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", &endless] {
        assert_eq!(ask_plain(bound.local_addr, words).await, "");
    }
    wait_for("the refusals", || bound.metrics.refused(Refused::BadHeader) == 3).await;
}

#[tokio::test]
async fn a_header_of_anyone_elses_reaches_no_backend() {
    let backend = plain_backend("b").await;
    let strangers = "trusted_proxies = [\"10.0.0.0/8\"]\n";
    let named = rule(Some("web.meridian"), &[backend]) + &rule(None, &[backend]);
    for rules in [rule(None, &[backend]), named] {
        let Balance { bound, .. } = balance(&(strangers.to_owned() + &rules)).await;
        for words in [&[&told().1[..], b"hello"].concat()[..], b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\nhello"] {
            let answer = ask_plain(bound.local_addr, words).await;
            assert!(!answer.contains("hello") && !answer.contains("PROXY "), "{answer}");
        }
        wait_for("the refusals", || bound.metrics.refused(Refused::ForgedHeader) == 2).await;
        assert_eq!(ask_plain(bound.local_addr, b"PROXIES may pass").await, "b:PROXIES may pass");
    }
}

#[tokio::test]
async fn haproxy_before_and_behind_understands_the_same_headers() {
    let backend = header_backend().await;
    let (before, behind) = (nobody().await, nobody().await);
    let rules = TRUST.to_owned() + &rule(None, &[behind]) + "proxy_protocol = true\n";
    let Balance { bound, .. } = balance(&rules).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("haproxy.cfg");
    let text = format!(
        "defaults\n mode tcp\n timeout connect 9s\n timeout client 9s\n timeout server 9s\n\
         listen before\n bind {before}\n server s {} send-proxy-v2\n\
         listen behind\n bind {behind} accept-proxy\n server s {} send-proxy-v2\n",
        bound.local_addr, backend.address
    );
    std::fs::write(&file, text).unwrap();
    let mut peer = haproxy(&file).spawn().unwrap();
    let up = async {
        while TcpStream::connect(before).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    within("the start", up).await;
    let (own, answer) = ask_from(before, b"hello").await;
    assert_eq!(answer, format!("{own}|{before}|hello"));
    peer.kill().await.unwrap();
}
