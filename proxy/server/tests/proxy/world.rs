//! A zone with one proxy, one agent and a Web App.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use meridian_ids::{SessionId, StreamId, TicketId, UserId};
use meridian_model::{Policy, Transport};
use meridian_proxy::{Proxy, start};
use meridian_runtime::{Clock, Health, Tasks};
use meridian_settings::{NodeSection, ProxySettings};
use meridian_ticket::{PASS_LIFETIME_S, Pass, TICKET_LIFETIME_S, Ticket, resume_audience, zone_audience};
use meridian_wire::PeerAddress;
use tempfile::TempDir;

use crate::{
    agent::Agent,
    browser::{Answer, Browser, upgrade},
    web::Web,
};

pub(crate) const LIMIT: Duration = Duration::from_secs(15);

pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("{what} took longer than {LIMIT:?}"))
}

pub(crate) async fn wait_for(what: &str, mut seen: impl FnMut() -> bool) {
    let start = Instant::now();
    while !seen() {
        assert!(start.elapsed() < LIMIT, "{what} did not come within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) struct World {
    pub(crate) web: Arc<Web>,
    pub(crate) agent: Arc<Agent>,
    pub(crate) proxy: Proxy,
    pub(crate) tasks: Tasks,
    pub(crate) health: Health,
    pub(crate) session: SessionId,
    pub(crate) folder: TempDir,
}

pub(crate) fn settings(web: &Web, folder: &TempDir) -> ProxySettings {
    ProxySettings {
        node: NodeSection {
            name: "proxy-1".into(),
            data: folder.path().join("data"),
            upstream: format!("http://{}", web.public),
            enroll_token_file: Some(folder.path().join("token")),
            advertise: None,
            via: None,
            upstream_ca_file: None,
            ops_listen: None,
        },
        listen: "127.0.0.1:0".parse().unwrap(),
        tls_certificate_file: None,
        tls_key_file: None,
        trusted_proxies: Vec::new(),
        proxy_protocol: false,
        max_head_bytes: 8192,
        max_streams: 100,
        max_pending: 100,
        head_wait_s: 5,
        authorize_wait_s: 3,
        dial_wait_s: 3,
        drain_wait_s: 1,
        copy_buffer_bytes: 32 * 1024,
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|settings| settings).await
    }

    pub(crate) async fn with(edit: impl FnOnce(ProxySettings) -> ProxySettings) -> Self {
        let web = Web::start().await;
        let agent = Agent::start(&web).await;
        let address = PeerAddress { node_id: web.agent, address: agent.address.to_string() };
        web.change(|state| state.agents.push(address));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "token\n").unwrap();
        let settings = edit(settings(&web, &folder));
        let (tasks, health) = (Tasks::new(), Health::default());
        let proxy =
            within("the proxy's start", start(settings, Clock::system(), &tasks, &health)).await.unwrap();
        wait_for("the zone's settings", || health.reasons().is_empty()).await;
        Self { web, agent, proxy, tasks, health, session: SessionId::generate(), folder }
    }

    /// Stops the proxy and starts it anew where no control plane is to be reached.
    pub(crate) async fn restarted_alone(&self) -> Proxy {
        assert!(self.tasks.stop(LIMIT).await);
        let mut again = settings(&self.web, &self.folder);
        again.node.upstream = "http://127.0.0.1:1".into();
        again.node.via = Some("127.0.0.1:1".into());
        again.authorize_wait_s = 1;
        start(again, Clock::system(), &Tasks::new(), &Health::default()).await.unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.proxy.local_addr
    }

    pub(crate) fn path(&self) -> String {
        format!("/desktop/{}/stream", self.session)
    }

    pub(crate) fn ticket(&self) -> Ticket {
        let now = Clock::system().now().as_second();
        Ticket {
            iss: self.web.deployment,
            aud: zone_audience(self.web.zone),
            sub: self.session,
            jti: TicketId::generate(),
            iat: now,
            exp: now + TICKET_LIFETIME_S,
            epoch: 1,
            generation: 1,
            agent: self.web.agent,
            user: UserId::generate(),
            transport: Transport::MeridianV1,
            jkt: None,
            watch: None,
        }
    }

    /// A good request with this ticket.
    pub(crate) fn request(&self, ticket: &Ticket) -> String {
        let token = self.web.signing.sign_ticket(ticket);
        upgrade(&self.path(), &format!("{}, meridian.ticket.{token}", ticket.transport.as_str()))
    }

    /// A request with a resume pass.
    pub(crate) fn pass_request(&self) -> String {
        let now = Clock::system().now().as_second();
        let pass = Pass {
            iss: self.web.deployment,
            aud: resume_audience(self.web.zone),
            sub: self.session,
            stream: StreamId::generate(),
            iat: now,
            exp: now + PASS_LIFETIME_S,
            epoch: 1,
            generation: 1,
            agent: self.web.agent,
            user: UserId::generate(),
            jkt: "k".repeat(43),
            watch: None,
            policy: Policy::OWNER,
        };
        let token = self.web.signing.sign_pass(&pass);
        upgrade(&self.path(), &format!("meridian.v1, meridian.pass.{token}"))
    }

    /// A browser on an open stream, and the answer that opened it.
    pub(crate) async fn open_stream(&self) -> (Browser, Answer) {
        let mut browser = Browser::open(self.address()).await;
        browser.send(self.request(&self.ticket())).await;
        let answer = browser.answer().await;
        assert_eq!(answer.status, 101, "{answer:?}");
        (browser, answer)
    }

    /// Waits until the proxy has nothing of any connection left, and nor has the agent.
    pub(crate) async fn wait_until_quiet(&self) {
        let metrics = &self.proxy.metrics;
        wait_for("the last connection's end", || {
            metrics.pending() == 0 && metrics.streams() == 0 && self.agent.hear(|heard| heard.open) == 0
        })
        .await;
    }
}
