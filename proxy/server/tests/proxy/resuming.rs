//! TLS sessions across the proxies of a zone: they share ticket keys, and keep them over a restart.

use std::{net::SocketAddr, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use jiff::SignedDuration;
use meridian_proxy::{Proxy, start};
use meridian_runtime::{Clock, Health, Tasks};
use meridian_settings::ProxySettings;
use meridian_wire::{TicketKey, TicketSecret};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, pki_types::CertificateDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::world::{World, wait_for, within};

const NAME: &str = "london.example.org";

/// A browser that remembers TLS sessions.
struct Rememberer(TlsConnector);

impl Rememberer {
    fn new(certificate: CertificateDer<'static>) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(certificate).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(TlsConnector::from(Arc::new(config)))
    }

    /// How a connection to a proxy begins; it is answered, so a new ticket has come when this returns.
    async fn visit(&self, proxy: SocketAddr) -> HandshakeKind {
        within("a visit", async {
            let socket = TcpStream::connect(proxy).await.unwrap();
            let mut stream = self.0.connect(NAME.try_into().unwrap(), socket).await.unwrap();
            stream.write_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 "), "{}", answer.escape_ascii());
            stream.get_ref().1.handshake_kind().unwrap()
        })
        .await
    }
}

fn key(number: u8) -> TicketKey {
    // Long ago: a proxy learns the time from answers, and a slow one leaves it a little behind.
    let begins_at = Clock::system().now() - SignedDuration::from_hours(1);
    TicketKey { begins_at, secret: TicketSecret::new(format!("{number:02x}").repeat(32)) }
}

fn with_tls(settings: ProxySettings, folder: &Path) -> ProxySettings {
    ProxySettings {
        tls_certificate_file: Some(folder.join("public.crt")),
        tls_key_file: Some(folder.join("public.key")),
        ..settings
    }
}

async fn start_proxy(settings: ProxySettings) -> (Proxy, Tasks) {
    let (tasks, health) = (Tasks::new(), Health::default());
    let starting = start(settings, Clock::system(), &tasks, &health);
    (within("the proxy's start", starting).await.unwrap(), tasks)
}

/// Certificate files in a folder, and a browser that trusts them.
fn certificate(folder: &Path) -> Rememberer {
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    std::fs::write(folder.join("public.crt"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("public.key"), made.signing_key.serialize_pem()).unwrap();
    Rememberer::new(made.cert.der().clone())
}

#[tokio::test]
async fn a_session_of_one_proxy_resumes_on_another_and_on_one_that_was_started_again_in_an_outage() {
    let world = World::new().await;
    let folder = world.folder.path();
    let browser = certificate(folder);
    world.web.change(|state| state.ticket_keys = vec![key(1), key(2)]);
    let settings = |name: &str| {
        let mut settings = with_tls(crate::world::settings(&world.web, &world.folder), folder);
        settings.node.data = folder.join(name);
        std::fs::write(folder.join("token"), "token").unwrap();
        settings
    };
    let (first, first_tasks) = start_proxy(settings("first")).await;
    let (second, second_tasks) = start_proxy(settings("second")).await;
    until(&browser, first.local_addr, second.local_addr, HandshakeKind::Resumed).await;

    // It is written down a moment after it is in use.
    let memory = folder.join("first/control.json");
    wait_for("the zone's settings on the disk", || memory.exists()).await;
    assert!(first_tasks.stop(Duration::from_secs(10)).await);
    let remembered = std::fs::metadata(memory).unwrap();
    assert_eq!(remembered.permissions().mode() & 0o777, 0o600);
    let mut alone = settings("first");
    // Nothing listens there: what it resumes with is from its own disk.
    alone.node.via = Some("127.0.0.1:1".into());
    let (first, first_tasks) = start_proxy(alone).await;
    assert_eq!(browser.visit(first.local_addr).await, HandshakeKind::Resumed);
    assert_eq!(browser.visit(second.local_addr).await, HandshakeKind::Resumed);

    // Keys that are out of use: the proxy that has heard of it makes a full handshake of the old ticket, and a viewer notices nothing.
    world.web.change(|state| state.ticket_keys = vec![key(3)]);
    until(&browser, first.local_addr, second.local_addr, HandshakeKind::Full).await;
    for tasks in [first_tasks, second_tasks] {
        assert!(tasks.stop(Duration::from_secs(10)).await);
    }
}

/// Goes from one proxy to the other until the second handshake is of this kind: the zone's keys come with heartbeats.
async fn until(browser: &Rememberer, from: SocketAddr, to: SocketAddr, kind: HandshakeKind) {
    within("the zone's ticket keys", async {
        loop {
            browser.visit(from).await;
            if browser.visit(to).await == kind {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}
