//! An agent with a simulated engine, a control plane of a few pages, and a proxy that is nothing but its certificate.

pub(crate) mod page;
pub(crate) mod stand_in;
#[expect(dead_code, reason = "written for all nodes; an agent's tests use their part")]
#[path = "../../../../shared/node/tests/support/mod.rs"]
pub(crate) mod support;
pub(crate) mod viewer;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use http::{Request, Response, header};
use meridian_agent::{Agent, AgentError, MakeEngine, start_with};
use meridian_engine::{Daemon, Engine, Owner, SimulatedEngine};
use meridian_identity::{NodeName, NodeTls, web_name};
use meridian_ids::{GrantId, NodeId, SessionId, StreamId, UserId};
use meridian_model::{Network, NodeRole, Policy, Resources, Seccomp, Transport, WorkspaceSpec};
use meridian_runtime::{Clock, Health, Tasks};
use meridian_settings::{AgentSettings, NodeSection};
use meridian_ticket::{GRANT_LIFETIME_S, Grant, Pass, agent_audience, resume_audience};
use meridian_wire::{
    Command, DesiredSession, GRANT_HEADER, Observation, WireError, agent_paths, upstream_path,
};
pub(crate) use support::{Control, LIMIT, wait_for};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite};

pub(crate) const IMAGE: &str = "meridian/terminal:dev";
pub(crate) type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// As [`MakeEngine`], for each start of the agent.
pub(crate) type Make =
    Box<dyn Fn(Owner, &AgentSettings) -> Result<Arc<dyn Engine>, AgentError> + Send + Sync>;

/// Settings that a test wants otherwise.
pub(crate) type Adjust = fn(&mut AgentSettings);

pub(crate) struct Bench {
    pub(crate) tasks: Tasks,
    pub(crate) control: Arc<Control>,
    pub(crate) daemon: Daemon,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) agent: Agent,
    agent_tasks: Tasks,
    make: Arc<Make>,
    adjust: Adjust,
    /// The agent's own.
    clock: Clock,
    pub(crate) proxy: NodeName,
    pub(crate) proxy_tls: NodeTls,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with_control_clock(Clock::system()).await
    }

    pub(crate) async fn with_control_clock(clock: Clock) -> Self {
        Self::simulated(clock, Clock::system(), |_| {}).await
    }

    /// With an agent whose time is a test's to move.
    pub(crate) async fn with_agent_clock(clock: Clock) -> Self {
        Self::simulated(Clock::system(), clock, |_| {}).await
    }

    pub(crate) async fn with_settings(adjust: Adjust) -> Self {
        Self::simulated(Clock::system(), Clock::system(), adjust).await
    }

    async fn simulated(control_clock: Clock, clock: Clock, adjust: Adjust) -> Self {
        let tasks = Tasks::new();
        let daemon = Daemon::new(&[IMAGE], tasks.child());
        let simulated = daemon.clone();
        let make: Make = Box::new(move |owner, settings| {
            let total = Resources { cpu_milli: settings.cpu_milli, memory_mb: settings.memory_mb };
            let directory = &settings.run_directory;
            Ok(Arc::new(SimulatedEngine::new(simulated.clone(), owner, directory, total).unwrap()))
        });
        let control = Control::start(&tasks, control_clock).await;
        Self::with(control, clock, tasks, daemon, make, adjust).await
    }

    /// Over another engine than the simulated one.
    pub(crate) async fn with_engine(make: Make) -> Self {
        let tasks = Tasks::new();
        let daemon = Daemon::new(&[], tasks.child());
        let control = Control::start(&tasks, Clock::system()).await;
        Self::with(control, Clock::system(), tasks, daemon, make, |_| {}).await
    }

    async fn with(
        control: Arc<Control>,
        clock: Clock,
        tasks: Tasks,
        daemon: Daemon,
        make: Make,
        adjust: Adjust,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let make = Arc::new(make);
        std::fs::write(folder.path().join("token"), control.token(NodeRole::Agent)).unwrap();
        let proxy = NodeName { node: NodeId::generate(), role: NodeRole::Proxy, zone: Some(control.zone) };
        let proxy_tls = control.identity(proxy, &[]);
        let (agent, agent_tasks) = start_agent(folder.path(), &control, &make, adjust, &clock).await;
        let bench = Self {
            tasks,
            control,
            daemon,
            folder,
            agent,
            agent_tasks,
            make,
            adjust,
            clock,
            proxy,
            proxy_tls,
        };
        bench.heard().await;
        bench
    }

    pub(crate) async fn heard(&self) {
        let seen = self.control.heartbeats();
        wait_for("a heartbeat", || (self.control.heartbeats() > seen).then_some(())).await;
    }

    /// Ends the agent's process, as far as it is one here, and starts another on the same data.
    pub(crate) async fn restart(&mut self) {
        self.stop_agent().await;
        let folder = self.folder.path().to_owned();
        (self.agent, self.agent_tasks) =
            start_agent(&folder, &self.control, &self.make, self.adjust, &self.clock).await;
    }

    pub(crate) async fn stop_agent(&self) {
        assert!(self.agent_tasks.stop(LIMIT).await, "the agent's tasks all end");
    }

    /// Tells the agent to stop, without waiting.
    pub(crate) fn tell_to_stop(&self) {
        self.agent_tasks.stopping().cancel();
    }

    pub(crate) async fn end(self) {
        self.stop_agent().await;
        self.tasks.stop(LIMIT).await;
    }

    pub(crate) fn run(&self, session: SessionId, generation: i64) {
        self.control.order(run(session, 1, generation));
    }

    pub(crate) fn finish(&self, session: SessionId, generation: i64) {
        self.control.order(end(session, 1, generation));
    }

    /// A session that runs and shows something.
    pub(crate) async fn running(&self) -> SessionId {
        let session = SessionId::generate();
        self.run(session, 1);
        self.observed(session, |observation| *observation == Observation::Running).await;
        session
    }

    /// Waits until the agent reports something of a session.
    pub(crate) async fn observed(
        &self,
        session: SessionId,
        wanted: impl Fn(&Observation) -> bool,
    ) -> Observation {
        wait_for("an observation", || {
            self.control.observed(session).map(|seen| seen.observation).filter(|seen| wanted(seen))
        })
        .await
    }

    pub(crate) fn grant(&self, session: SessionId, transport: Transport) -> Grant {
        let now = self.control.clock.now().as_second();
        Grant {
            iss: self.control.deployment,
            aud: agent_audience(self.agent.name.node),
            sub: session,
            jti: GrantId::generate(),
            stream: StreamId::generate(),
            iat: now + 1,
            exp: now + GRANT_LIFETIME_S,
            epoch: 1,
            generation: 1,
            user: UserId::generate(),
            proxy: self.proxy.node,
            transport,
            jkt: None,
            watch: None,
            policy: Policy::OWNER,
        }
    }

    /// A resume pass that says what the grant does.
    pub(crate) fn pass(&self, grant: &Grant) -> Pass {
        Pass {
            iss: grant.iss,
            aud: resume_audience(self.agent.name.zone.unwrap()),
            sub: grant.sub,
            stream: grant.stream,
            iat: grant.iat - 3600,
            exp: grant.iat + 3600,
            epoch: grant.epoch,
            generation: grant.generation,
            agent: self.agent.name.node,
            user: grant.user,
            jkt: grant.jkt.clone().unwrap_or_default(),
            watch: grant.watch,
            policy: grant.policy,
        }
    }

    /// Upgrades with a pass, as any proxy of the zone does.
    pub(crate) async fn open_with_pass(&self, pass: &Pass) -> Result<Socket, (u16, WireError)> {
        let grant = pass.as_grant(self.proxy.node);
        self.open_as(&self.proxy_tls, &grant, &self.control.signing.sign_pass(pass)).await
    }

    /// Upgrades with a grant, as a proxy does.
    pub(crate) async fn open(&self, grant: &Grant) -> Result<Socket, (u16, WireError)> {
        self.open_as(&self.proxy_tls, grant, &self.control.signing.sign_grant(grant)).await
    }

    pub(crate) async fn open_as(
        &self,
        tls: &NodeTls,
        grant: &Grant,
        token: &str,
    ) -> Result<Socket, (u16, WireError)> {
        let stream = support::dial(self.agent.address, &self.agent.name.to_string(), tls).await.unwrap();
        let request = Request::builder()
            .uri(format!("ws://{}{}", self.agent.name, upstream_path(grant.sub)))
            .header(header::HOST, self.agent.name.to_string())
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_VERSION, "13")
            .header(header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==")
            .header(header::SEC_WEBSOCKET_PROTOCOL, grant.transport.as_str())
            .header(GRANT_HEADER, token)
            .body(())
            .unwrap();
        match client_async(request, stream).await {
            Ok((socket, response)) => {
                assert_eq!(protocol(&response), Some(grant.transport.as_str()));
                Ok(socket)
            }
            Err(tungstenite::Error::Http(response)) => {
                let status = response.status().as_u16();
                let body = response.into_body().unwrap_or_default();
                Err((status, serde_json::from_slice(&body).unwrap()))
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// The proxy says that it stops soon.
    pub(crate) async fn say_goodbye(&self) {
        let name = self.agent.name.to_string();
        let mut stream = support::dial(self.agent.address, &name, &self.proxy_tls).await.unwrap();
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: {name}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            agent_paths::DRAIN
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 204"), "{}", String::from_utf8_lossy(&answer));
    }

    /// A series of the agent's own, read as its operator reads it.
    pub(crate) async fn metric(&self, name: &str) -> usize {
        let mut socket = TcpStream::connect(self.agent.ops_address.unwrap()).await.unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n";
        socket.write_all(request).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let line = answer.lines().find(|line| line.starts_with(&format!("{name}{{"))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    pub(crate) fn web_tls(&self) -> NodeTls {
        self.control.identity(web_name(NodeId::generate()), &[])
    }

    pub(crate) fn agent_address(&self) -> SocketAddr {
        self.agent.address
    }

    /// The display directory of a session.
    pub(crate) fn leaf(&self, session: SessionId) -> PathBuf {
        let owner = Owner { deployment: self.control.deployment, agent: self.agent.name.node };
        self.folder.path().join("run").join(owner.short()).join(session.to_string()).join("stream")
    }
}

fn protocol<B>(response: &Response<B>) -> Option<&str> {
    response.headers().get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok())
}

async fn start_agent(
    folder: &Path,
    control: &Control,
    make: &Arc<Make>,
    adjust: Adjust,
    clock: &Clock,
) -> (Agent, Tasks) {
    let mut settings = AgentSettings {
        node: NodeSection {
            name: "agent-1".into(),
            data: folder.join("data"),
            upstream: format!("http://{}", control.public),
            enroll_token_file: Some(folder.join("token")),
            advertise: None,
            via: None,
            upstream_ca_file: None,
            ops_listen: Some("127.0.0.1:0".parse().unwrap()),
        },
        listen: "127.0.0.1:0".parse().unwrap(),
        engine: "simulated".into(),
        docker_socket: "/var/run/docker.sock".into(),
        run_directory: folder.join("run"),
        cpu_milli: 8000,
        memory_mb: 16_000,
        seccomp_directory: None,
        engine_wait_s: 5,
        display_wait_s: 60,
        attach_wait_s: 5,
        resume_window_s: 60,
        watch_grace_s: 10,
        max_streams: 16,
        window_bytes: 1 << 20,
        pulls_at_once: 2,
        image_wait_s: 60,
        images_keep_free_mb: 0,
        images_look_again_s: 0,
        archive_directory: None,
        archive_max_mb: 64,
        direct: None,
    };
    adjust(&mut settings);
    let (tasks, make) = (Tasks::new(), Arc::clone(make));
    let make: MakeEngine = Box::new(move |owner, settings| make(owner, settings));
    let agent = start_with(settings, clock.clone(), tasks.clone(), Health::default(), make, Box::new(|_| {}))
        .await
        .unwrap();
    (agent, tasks)
}

pub(crate) fn run(session_id: SessionId, epoch: i64, generation: i64) -> DesiredSession {
    let spec = WorkspaceSpec {
        image: IMAGE.into(),
        cpu_milli: 500,
        memory_mb: 512,
        shm_mb: 64,
        home_mb: 64,
        tmp_mb: 64,
        pids_limit: 128,
        network: Network::None,
        seccomp: Seccomp::Default,
        home: None,
    };
    DesiredSession { session_id, epoch, generation, command: Command::Run { spec } }
}

pub(crate) fn end(session_id: SessionId, epoch: i64, generation: i64) -> DesiredSession {
    let command = Command::End { reason: "its user ended it".into() };
    DesiredSession { session_id, epoch, generation, command }
}
