//! `meridian bench balance`: what connections cost a balancer that passes TLS through by its server name.
//!
//! `meridian balance`, nginx and HAProxy, each in a process of its own on one core and in turn. A connection opens with a real ClientHello;
//! what follows is plain, because a balancer cannot tell, and encrypting it would only cost the load.

mod connections;
mod idle;
mod peers;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use futures_util::future::try_join_all;
use meridian_runtime::Tasks;
use meridian_settings::{BackendSettings, BalanceSettings};
use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::aws_lc_rs::default_provider};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{
    Report,
    arena::{Arena, Samples, free_address},
    cores::Cores,
    order::{FarEnd, ORDER_BYTES, Order},
    pacer::Pacer,
    process::{Relay, find},
    relay::{MAX_STREAMS, bulk},
    report::{Figures, Goal, Goals},
    viewers::AT_ONCE,
};

/// What connections ask for, and the rule that they fall under.
const SERVER_NAME: &str = "london.bench.meridian";
const OPEN_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BalanceLoad {
    /// Memory of connections that carry nothing.
    Idle,
    /// Bytes as fast as they are taken, on 1, 16 and 128 connections.
    Bulk,
    /// Opening and closing connections.
    Connections,
}

impl BalanceLoad {
    pub const ALL: [Self; 3] = [Self::Idle, Self::Bulk, Self::Connections];
}

/// How to measure.
#[derive(Clone, Debug)]
pub struct BalanceBench {
    /// Connections at once, or, with `Connections`, in each round; none: what the goals are set for.
    pub streams: Option<usize>,
    pub rounds: usize,
    /// How long each load is measured in each round.
    pub wanted: Duration,
    /// Runs a balancer with the settings file that is appended to it: `meridian balance --config`.
    pub balance: Vec<OsString>,
}

/// Opens connections to a balancer.
pub(crate) struct Clients {
    hello: Arc<[u8]>,
}

impl BalanceBench {
    /// Measures one kind of load. A peer that is not installed is left out.
    ///
    /// # Errors
    /// When a balancer cannot be run or does not pass connections on; its last words are in the error.
    pub async fn run(&self, load: BalanceLoad) -> anyhow::Result<Report> {
        let streams = self.streams.unwrap_or(match load {
            BalanceLoad::Idle => 2000,
            BalanceLoad::Bulk => 128,
            BalanceLoad::Connections => 4000,
        });
        ensure!((1..=MAX_STREAMS).contains(&streams), "between 1 and {MAX_STREAMS} connections");
        let tasks = Tasks::new();
        let clients = Clients::new()?;
        let mut arena = self.prepare(&clients, &tasks).await?;
        let wanted = self.wanted;
        let (name, goals) = match load {
            BalanceLoad::Idle => {
                let measure =
                    async |relay: &Relay, _: &Cores| idle::measure(relay, &clients, streams, wanted).await;
                arena.compare(self.rounds, measure).await?;
                ("balance_idle", idle::goals())
            }
            BalanceLoad::Bulk => {
                let measure = async |relay: &Relay, cores: &Cores| {
                    let mut samples = Samples::new();
                    for count in bulk::counts(streams) {
                        let opened = clients.open(relay.address, count, Order::Bulk).await?;
                        bulk::pull(relay, cores, opened, wanted, &mut samples).await?;
                    }
                    Ok(samples)
                };
                arena.compare(self.rounds, measure).await?;
                ("balance_bulk", bulk_goals(streams))
            }
            BalanceLoad::Connections => {
                let measure = async |relay: &Relay, cores: &Cores| {
                    connections::measure(relay, cores, &clients, streams).await
                };
                arena.compare(self.rounds, measure).await?;
                ("balance_connections", connections::goals())
            }
        };
        tasks.stop(STOP_LIMIT).await;
        let parameters = Figures::from([
            ("streams".into(), json!(streams)),
            ("rounds".into(), json!(self.rounds)),
            ("seconds".into(), json!(wanted.as_secs_f64())),
            ("tls".into(), json!("passed through, routed by server name")),
        ]);
        arena.report(name, parameters, goals)
    }

    async fn prepare(&self, clients: &Clients, tasks: &Tasks) -> anyhow::Result<Arena> {
        let mut arena = Arena::new()?;
        let backend = serve_backend(clients.hello.len(), tasks).await?;
        let address = free_address()?;
        let mut command = self.balance.clone();
        command.push(settings(&arena, address, backend)?.into());
        arena.add_own(address, command);
        for peer in peers::PEERS {
            let Some(program) = find(peer.program) else { continue };
            let address = free_address()?;
            let Some(command) = (peer.prepare)(arena.folder(), address, backend)? else { continue };
            let command = std::iter::once(program).chain(command).collect();
            arena.add_peer(peer.program, address, command).await;
        }
        Ok(arena)
    }
}

fn bulk_goals(streams: usize) -> Goals {
    let goal = |count| (format!("{count}_streams_mb_per_cpu_s"), Goal::TimesTheBetterPeer(1.2));
    bulk::counts(streams).map(goal).collect()
}

impl Clients {
    fn new() -> anyhow::Result<Self> {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(config), SERVER_NAME.try_into()?)?;
        let mut hello = Vec::new();
        client.write_tls(&mut hello)?;
        Ok(Self { hello: hello.into() })
    }

    /// Opens `count` connections; each has carried bytes both ways when this returns.
    async fn open(&self, relay: SocketAddr, count: usize, order: Order) -> anyhow::Result<Vec<TcpStream>> {
        let mut streams = Vec::with_capacity(count);
        while streams.len() < count {
            let wave = (0..AT_ONCE.min(count - streams.len())).map(|_| self.open_one(relay, order));
            streams.extend(try_join_all(wave).await?);
        }
        Ok(streams)
    }

    async fn open_one(&self, relay: SocketAddr, order: Order) -> anyhow::Result<TcpStream> {
        let opening = async {
            let mut socket = TcpStream::connect(relay).await?;
            socket.set_nodelay(true)?;
            socket.write_all(&[&self.hello[..], &order.word()].concat()).await?;
            socket.read_exact(&mut [0; ORDER_BYTES]).await.context("the connection ended early")?;
            anyhow::Ok(socket)
        };
        timeout(OPEN_LIMIT, opening).await.context("a connection was not open in time")?
    }
}

/// What is behind a balancer: it skips the ClientHello and takes orders.
async fn serve_backend(hello_bytes: usize, tasks: &Tasks) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let far_end = FarEnd { made: std::time::Instant::now(), pacer: Pacer::default() };
    let connections = tasks.clone();
    tasks.spawn_until_stop("backend", async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let far_end = far_end.clone();
            connections.spawn_until_stop("backend connection", async move {
                let mut hello = vec![0; hello_bytes];
                // A connection that breaks shows at the client.
                if socket.set_nodelay(true).is_ok() && socket.read_exact(&mut hello).await.is_ok() {
                    drop(hello);
                    let _ = far_end.serve(socket).await;
                }
            });
        }
    });
    Ok(address)
}

fn settings(arena: &Arena, listen: SocketAddr, backend: SocketAddr) -> anyhow::Result<PathBuf> {
    let text = format!("listen = \"{listen}\"\n[[route]]\nsni = \"{SERVER_NAME}\"\nbackend = []\n");
    let mut settings: BalanceSettings = toml::from_str(&text)?;
    for route in &mut settings.routes {
        route.backends = vec![BackendSettings::new(backend)];
    }
    let path = arena.folder().join("balance.toml");
    std::fs::write(&path, toml::to_string(&settings)?)?;
    Ok(path)
}
