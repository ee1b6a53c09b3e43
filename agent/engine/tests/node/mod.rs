//! A node with a real container engine, which leaves nothing behind.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use meridian_engine::{DockerEngine, DockerSettings, Engine, Order, Owner};
use meridian_ids::{DeploymentId, NodeId, SessionId};
use meridian_model::{Network, Resources, Seccomp, WorkspaceSpec};

pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// What images/build.sh makes.
pub(crate) const IMAGE: &str = "meridian/terminal:dev";

pub(crate) struct Node {
    pub(crate) engine: Arc<DockerEngine>,
    pub(crate) owner: Owner,
    folder: tempfile::TempDir,
}

impl Node {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let owner = Owner { deployment: DeploymentId::generate(), agent: NodeId::generate() };
        Self { engine: open(folder.path(), owner, None), owner, folder }
    }

    /// The same node after its agent was restarted.
    pub(crate) fn again(&self) -> Arc<DockerEngine> {
        open(self.folder.path(), self.owner, None)
    }

    /// The same node with the profiles that the images come with.
    pub(crate) fn with_profiles(&self) -> Arc<DockerEngine> {
        let profiles = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/seccomp");
        open(self.folder.path(), self.owner, Some(profiles))
    }

    /// Another agent on the same container engine.
    pub(crate) fn neighbour(&self) -> Arc<DockerEngine> {
        open(self.folder.path(), Owner { agent: NodeId::generate(), ..self.owner }, None)
    }

    pub(crate) async fn start(&self, network: Network) -> SessionId {
        let order = order(IMAGE, network);
        self.engine.start(&order, &|_| {}).await.unwrap();
        order.session
    }
}

fn open(folder: &Path, owner: Owner, seccomp_directory: Option<PathBuf>) -> Arc<DockerEngine> {
    let settings = DockerSettings {
        socket: "/var/run/docker.sock".into(),
        run_directory: folder.join("run"),
        seccomp_directory,
        homes_directory: folder.join("homes"),
        wait: LIMIT,
        total: Resources::default(),
    };
    Arc::new(DockerEngine::new(settings, owner).unwrap())
}

pub(crate) fn order(image: &str, network: Network) -> Order {
    let spec = WorkspaceSpec {
        image: image.into(),
        cpu_milli: 500,
        memory_mb: 512,
        shm_mb: 64,
        home_mb: 32,
        tmp_mb: 32,
        pids_limit: 256,
        network,
        seccomp: Seccomp::Default,
        home: None,
    };
    Order { session: SessionId::generate(), epoch: 3, generation: 7, spec }
}

/// However a test ends.
impl Drop for Node {
    fn drop(&mut self) {
        let filter = format!("label=dev.meridian.agent={}", self.owner.agent);
        for (list, remove) in [
            (vec!["ps", "-aq"], vec!["rm", "-f", "-v"]),
            (vec!["network", "ls", "-q"], vec!["network", "rm"]),
            (vec!["volume", "ls", "-q"], vec!["volume", "rm", "-f"]),
        ] {
            let listed = docker(&[&list[..], &["--filter", &filter]].concat());
            for id in listed.split_whitespace() {
                docker(&[&remove[..], &[id]].concat());
            }
        }
        let table = format!("meridian_{}", self.owner.short());
        let _ = Command::new("nft").args(["delete", "table", "inet", &table]).output();
        let root = self.folder.path().to_string_lossy().into_owned();
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for mount in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
            if mount.starts_with(&root) {
                let _ = Command::new("umount").arg(mount).output();
            }
        }
    }
}

/// What a command of the engine's own client prints.
pub(crate) fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// What a shell inside a session's container prints, errors too, and whether it succeeded.
pub(crate) fn inside(session: SessionId, script: &str) -> (bool, String) {
    let name = format!("meridian-{session}");
    let output = Command::new("docker").args(["exec", &name, "bash", "-c", script]).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).trim().to_owned())
}

pub(crate) async fn wait_for<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < LIMIT, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
