//! `meridian bench relay --idle`: what an idle stream costs a relay in memory, TLS on both sides.
//!
//! Meridian's proxy, nginx and HAProxy, each in a process of its own and in turn, carry the same streams from the same viewers to the
//! same agent. A stream's memory is the difference of the process's settled PSS with and without them, divided by their number;
//! before the first figure a few streams have come and gone, so that what a process makes once is not counted.

mod peers;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, ensure};
use meridian_runtime::Tasks;
use meridian_settings::{NodeSection, ProxySettings};
use rustls::RootCertStore;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Host, Report,
    process::{Relay, find, version},
    report::Figures,
    stand_in::StandIn,
    viewers::{PUBLIC_NAME, Viewers},
};

/// A process may hold 20,000 descriptors, and the viewers' end and the agent's are in this one.
pub const MAX_STREAMS: usize = 5000;
/// Streams that come and go before the first figure: few, because the memory they leave serves the first streams that are counted.
const WARM_UP: usize = 5;

/// What to measure.
#[derive(Clone, Debug)]
pub struct RelayBench {
    pub streams: usize,
    /// How often each relay is measured; the median counts.
    pub rounds: usize,
    /// Runs a proxy with the settings file that is appended to it: `meridian proxy --config`.
    pub proxy: Vec<OsString>,
}

/// A relay that can be started again and again.
struct Contender {
    name: &'static str,
    version: String,
    command: Vec<OsString>,
    address: SocketAddr,
    rounds: Vec<Round>,
}

#[derive(Clone, Copy)]
struct Round {
    base_kib: u64,
    per_stream_kib: f64,
}

impl RelayBench {
    /// Measures idle streams. A peer that is not installed is left out.
    ///
    /// # Errors
    /// When a relay cannot be run or does not relay; its last words are in the error.
    pub async fn idle(&self) -> anyhow::Result<Report> {
        ensure!((1..=MAX_STREAMS).contains(&self.streams), "between 1 and {MAX_STREAMS} streams");
        ensure!(self.rounds > 0, "at least one round");
        let folder = tempfile::tempdir()?;
        let tasks = Tasks::new();
        let stand_in = StandIn::start(&tasks).await?;
        let roots = public_certificate(folder.path())?;
        let viewers = Viewers::new(roots, stand_in.clone())?;
        let mut contenders = self.contenders(&folder, &stand_in).await?;
        for _ in 0..self.rounds {
            for contender in &mut contenders {
                let round = self.measure(contender, &viewers, folder.path()).await;
                contender.rounds.push(round.with_context(|| contender.name)?);
            }
        }
        tasks.stop(std::time::Duration::from_secs(5)).await;
        self.report(&contenders)
    }

    async fn contenders(&self, folder: &TempDir, stand_in: &Arc<StandIn>) -> anyhow::Result<Vec<Contender>> {
        let address = free_address()?;
        let mut command = self.proxy.clone();
        command.push(proxy_settings(folder.path(), address, stand_in)?.into());
        let ours = Contender {
            name: "meridian",
            version: meridian_runtime::VERSION.to_owned(),
            command,
            address,
            rounds: Vec::new(),
        };
        let mut contenders = vec![ours];
        let identity = stand_in.relay_identity()?;
        for peer in peers::PEERS {
            let Some(program) = find(peer.program) else { continue };
            let address = free_address()?;
            let command = (peer.prepare)(folder.path(), address, stand_in, &identity)?;
            let version = version(&program, "-v").await;
            let command = std::iter::once(program).chain(command).collect();
            contenders.push(Contender { name: peer.program, version, command, address, rounds: Vec::new() });
        }
        Ok(contenders)
    }

    async fn measure(
        &self,
        contender: &Contender,
        viewers: &Viewers,
        folder: &Path,
    ) -> anyhow::Result<Round> {
        let log = folder.join(format!("{}.log", contender.name));
        let relay = Relay::start(&contender.command, contender.address, &log).await?;
        viewers.wait_until_ready(relay.address).await?;
        drop(viewers.open(relay.address, WARM_UP.min(self.streams)).await?);
        let base_kib = relay.settled_pss_kib().await?;
        let streams = viewers.open(relay.address, self.streams).await?;
        let full_kib = relay.settled_pss_kib().await?;
        drop(streams);
        relay.stop().await?;
        #[expect(clippy::cast_precision_loss, reason = "KiB of one process and a few thousand streams")]
        let per_stream_kib = full_kib.saturating_sub(base_kib) as f64 / self.streams as f64;
        Ok(Round { base_kib, per_stream_kib })
    }

    fn report(&self, contenders: &[Contender]) -> anyhow::Result<Report> {
        let (ours, peers) = contenders.split_first().context("nothing was measured")?;
        Ok(Report {
            name: "relay_idle".into(),
            parameters: Figures::from([
                ("streams".into(), json!(self.streams)),
                ("rounds".into(), json!(self.rounds)),
                ("tls".into(), json!("both sides")),
            ]),
            figures: figures(ours),
            peers: peers.iter().map(|peer| (peer.name.to_owned(), figures(peer))).collect::<BTreeMap<_, _>>(),
            host: Host::this(),
        })
    }
}

fn figures(contender: &Contender) -> Figures {
    let rounded = |kib: f64| json!((kib * 10.0).round() / 10.0);
    let mut rounds: Vec<f64> = contender.rounds.iter().map(|round| round.per_stream_kib).collect();
    let all: Vec<Value> = rounds.iter().map(|kib| rounded(*kib)).collect();
    rounds.sort_by(f64::total_cmp);
    let median = rounds.get(rounds.len() / 2).copied().unwrap_or_default();
    let base = contender.rounds.iter().map(|round| round.base_kib).min().unwrap_or_default();
    Figures::from([
        ("pss_kib_per_stream".into(), rounded(median)),
        ("pss_kib_without_streams".into(), json!(base)),
        ("rounds_pss_kib_per_stream".into(), Value::Array(all)),
        ("version".into(), json!(contender.version)),
    ])
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// The certificate that every relay shows to viewers, as `public.crt`, `public.key` and, both in one, `public.pem`.
fn public_certificate(folder: &Path) -> anyhow::Result<RootCertStore> {
    let made = rcgen::generate_simple_self_signed(vec![PUBLIC_NAME.to_owned()])?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    std::fs::write(folder.join("public.pem"), format!("{certificate}{key}"))?;
    std::fs::write(folder.join("public.crt"), certificate)?;
    std::fs::write(folder.join("public.key"), key)?;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    Ok(roots)
}

fn proxy_settings(folder: &Path, listen: SocketAddr, stand_in: &StandIn) -> anyhow::Result<PathBuf> {
    let token = folder.join("token");
    std::fs::write(&token, "token")?;
    let settings = ProxySettings {
        node: NodeSection {
            name: "bench".into(),
            data: folder.join("proxy"),
            upstream: format!("http://{}", stand_in.public),
            enroll_token_file: Some(token),
            advertise: None,
            via: None,
            upstream_ca_file: None,
            ops_listen: None,
        },
        listen,
        tls_certificate_file: Some(folder.join("public.crt")),
        tls_key_file: Some(folder.join("public.key")),
        trusted_proxies: Vec::new(),
        max_head_bytes: 16 * 1024,
        max_streams: MAX_STREAMS + WARM_UP,
        max_pending: 1024,
        head_wait_s: 10,
        authorize_wait_s: 10,
        dial_wait_s: 10,
        drain_wait_s: 1,
        copy_buffer_bytes: 32 * 1024,
    };
    let path = folder.join("proxy.toml");
    std::fs::write(&path, toml::to_string(&settings)?)?;
    Ok(path)
}
