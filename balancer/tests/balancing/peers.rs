//! The HAProxy and nginx configurations in deploy/: they are taken by the real programs, and route as `meridian balance` does.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustls::RootCertStore;
use tokio::process::{Child, Command};

use crate::world::*;

const PLACES: [&str; 3] = ["primary", "entry", "private"];
const AGENT: &str =
    "01991f00-0000-7000-8000-0000000000a1.agent.01991f00-0000-7000-8000-000000000001.meridian";

/// A program of the system, where an ordinary user's PATH may not lead.
fn program(name: &str) -> Command {
    let system = PathBuf::from("/usr/sbin").join(name);
    let mut command = Command::new(if system.exists() { system } else { name.into() });
    command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    command
}

pub(crate) fn haproxy(file: &Path) -> Command {
    let mut command = program("haproxy");
    command.arg("-db").arg("-f").arg(file);
    command
}

fn nginx(folder: &Path, file: &Path) -> Command {
    let mut command = program("nginx");
    let pid = folder.join("nginx.pid");
    command
        .arg("-c")
        .arg(file)
        .arg("-g")
        .arg(format!("pid {}; daemon off; master_process off;", pid.display()));
    command
}

fn sample(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)).unwrap()
}

/// A sample in a folder of the test's, with some of its words replaced.
fn placed(folder: &Path, sample: String, words: &[(&str, String)]) -> PathBuf {
    let text = words.iter().fold(sample, |text, (old, new)| {
        assert!(text.contains(old), "`{old}` is in the sample");
        text.replace(old, new)
    });
    let file = folder.join("peer.conf");
    fs::write(&file, text).unwrap();
    file
}

/// nginx writes its log and binds its address even when it only checks; the rest is as shipped.
fn nginx_words(listen: SocketAddr, port: u16) -> [(&'static str, String); 2] {
    let address = if port == 443 { "0.0.0.0:443 " } else { "0.0.0.0:8443 " };
    [("/var/log/nginx/error.log", "stderr".into()), (address, format!("{listen} "))]
}

async fn accepts(mut command: Command, what: &str) {
    let output = command.stderr(Stdio::piped()).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && !said.contains("WARNING") && !said.contains("[warn]"),
        "{what}: {said}"
    );
}

#[tokio::test]
async fn haproxy_takes_every_sample_without_a_warning() {
    for place in PLACES {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/haproxy").join(format!("{place}.cfg"));
        let mut command = haproxy(&path);
        command.arg("-c");
        accepts(command, place).await;
    }
}

#[tokio::test]
async fn nginx_takes_every_sample_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    for place in PLACES {
        let words = nginx_words(nobody().await, if place == "private" { 8443 } else { 443 });
        let file = placed(folder.path(), sample(&format!("nginx/{place}.conf")), &words);
        let mut command = nginx(folder.path(), &file);
        command.arg("-t");
        accepts(command, place).await;
    }
}

/// Two Web App nodes, of which one is dead, and an agent.
struct Zone {
    roots: RootCertStore,
    web: Server,
    agent: Server,
    dead: SocketAddr,
    listen: SocketAddr,
}

impl Zone {
    async fn make() -> Self {
        let mut roots = RootCertStore::empty();
        let web = tls_backend("web", &mut roots, "web.meridian").await;
        let agent = tls_backend("agent", &mut roots, AGENT).await;
        Self { roots, web, agent, dead: nobody().await, listen: nobody().await }
    }

    fn words(&self) -> Vec<(&'static str, String)> {
        vec![
            ("10.0.0.11:7443", self.dead.to_string()),
            ("10.0.0.12:7443", self.web.address.to_string()),
            ("10.1.0.21:8445", self.agent.address.to_string()),
        ]
    }

    async fn routes(&self, mut peer: Child) {
        let ask = |name| ask_tls(self.listen, &self.roots, name);
        // From its first answer on, the dead node costs nobody anything.
        let up = async {
            while ask("web.meridian").await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within("the start", up).await;
        for _ in 0..4 {
            assert_eq!(within("the Web App", ask("web.meridian")).await.unwrap(), "web");
            assert_eq!(within("the agent", ask(AGENT)).await.unwrap(), "agent");
        }
        assert!(within("a refusal", ask("x.agent.y.meridian")).await.is_err());
        peer.kill().await.unwrap();
    }
}

#[tokio::test]
async fn haproxy_routes_the_private_sample_by_server_name() {
    let (folder, zone) = (tempfile::tempdir().unwrap(), Zone::make().await);
    let mut words = zone.words();
    words.push(("0.0.0.0:8443", zone.listen.to_string()));
    let file = placed(folder.path(), sample("haproxy/private.cfg"), &words);
    zone.routes(haproxy(&file).spawn().unwrap()).await;
}

#[tokio::test]
async fn nginx_routes_the_private_sample_by_server_name() {
    let (folder, zone) = (tempfile::tempdir().unwrap(), Zone::make().await);
    let mut words = zone.words();
    words.extend(nginx_words(zone.listen, 8443));
    let file = placed(folder.path(), sample("nginx/private.conf"), &words);
    zone.routes(nginx(folder.path(), &file).spawn().unwrap()).await;
}

#[tokio::test]
async fn haproxy_tries_the_sick_when_all_are_sick() {
    let (folder, zone) = (tempfile::tempdir().unwrap(), Zone::make().await);
    // It answers TLS, but never as the check wants.
    let words = [
        ("10.0.0.11:443", zone.web.address.to_string()),
        ("10.0.0.12:443", zone.web.address.to_string()),
        ("0.0.0.0:443", zone.listen.to_string()),
    ];
    let file = placed(folder.path(), sample("haproxy/primary.cfg"), &words);
    let mut peer = haproxy(&file).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut log = tokio::io::BufReader::new(peer.stderr.take().unwrap());
    let told = async {
        let mut line = String::new();
        while !line.contains("no server available") && !line.contains("Running on backup") {
            line.clear();
            tokio::io::AsyncBufReadExt::read_line(&mut log, &mut line).await.unwrap();
        }
    };
    within("the verdict on all nodes", told).await;
    let asked = within("a node", ask_tls(zone.listen, &zone.roots, "web.meridian")).await;
    assert_eq!(asked.unwrap(), "web");
    peer.kill().await.unwrap();
}
