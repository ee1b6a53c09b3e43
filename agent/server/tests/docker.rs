//! The agent over a real container engine: a real workspace, its hostile user, and the agent's death.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[expect(dead_code, reason = "the agent's other tests use the rest")]
mod bench;

use std::{process::Command, sync::Arc, time::Duration};

use bench::{Bench, IMAGE, LIMIT, viewer::Viewer, wait_for};
use meridian_engine::{DockerEngine, DockerSettings};
use meridian_ids::SessionId;
use meridian_model::{Resources, Transport};
use meridian_stream::{Channel, Code};
use meridian_wire::Observation;

#[tokio::test]
async fn a_real_workspace_starts_is_used_survives_its_agent_and_ends_without_a_trace() {
    let mut bench = Bench::with_engine(Box::new(|owner, settings| {
        let settings = DockerSettings {
            socket: settings.docker_socket.clone(),
            run_directory: settings.run_directory.clone(),
            seccomp_directory: None,
            homes_directory: settings.node.data.join("homes"),
            wait: Duration::from_secs(30),
            total: Resources::default(),
        };
        Ok(Arc::new(DockerEngine::new(settings, owner).unwrap()))
    }))
    .await;
    let _cleared = Cleared { agent: bench.agent.name.node.to_string(), folder: bench.folder.path().into() };
    let report = wait_for("the image", || {
        let report = bench.control.last_heartbeat()?.agent?;
        report.images.iter().any(|image| image.reference == IMAGE).then_some(report)
    })
    .await;
    assert!(report.total.cpu_milli >= 1000 && ["tmpfs", "quota"].contains(&report.home_storage.as_str()));

    let session = bench.running().await;
    let mut viewer = open(&bench, session).await;
    viewer.shake_hands().await;
    viewer.send(Channel::Display, &[3, 0, 0, 0, 0, 0, 0, 16, 0, 16]).await;
    assert_eq!(viewer.read(1).await, [0], "a frame");

    assert_eq!(inside(session, "echo kept >~/file && echo written"), "written");
    let container = id(session);
    bench.restart().await;
    bench.observed(session, |seen| *seen == Observation::Running).await;
    assert_eq!(id(session), container, "the same container");
    assert_eq!(inside(session, "cat ~/file"), "kept");
    let mut viewer = open(&bench, session).await;
    viewer.shake_hands().await;

    let swap = "cd /run/stream && mv rfb.sock real && ln -s real rfb.sock && echo swapped";
    assert_eq!(inside(session, swap), "swapped");
    let mut misled = open(&bench, session).await;
    assert_eq!(misled.noticed().await, Code::DisplayUnavailable);
    assert_eq!(inside(session, "cd /run/stream && mv real rfb.sock && echo back"), "back");

    bench.finish(session, 2);
    assert_eq!(viewer.noticed().await, Code::Ended);
    bench.observed(session, |seen| *seen == Observation::Gone).await;
    let label = format!("label=dev.meridian.session={session}");
    for list in [vec!["ps", "-aq"], vec!["network", "ls", "-q"], vec!["volume", "ls", "-q"]] {
        assert_eq!(docker(&[&list[..], &["--filter", &label]].concat()), "", "{list:?}");
    }
    assert!(!bench.leaf(session).exists());
    bench.end().await;
}

async fn open(bench: &Bench, session: SessionId) -> Viewer {
    let started = tokio::time::Instant::now();
    let socket = loop {
        // Grants are judged by whole seconds, so one made in the second of the agent's start is refused.
        match bench.open(&bench.grant(session, Transport::MeridianV1)).await {
            Ok(socket) => break socket,
            Err((_, refusal)) => assert!(started.elapsed() < LIMIT, "{}", refusal.error.message),
        }
    };
    let (viewer, _) = Viewer::attach(socket, 1, None).await.unwrap();
    viewer
}

fn id(session: SessionId) -> String {
    docker(&["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", &format!("meridian-{session}")])
}

fn inside(session: SessionId, script: &str) -> String {
    docker(&["exec", &format!("meridian-{session}"), "bash", "-c", script])
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// However the test ends, nothing of it stays.
struct Cleared {
    agent: String,
    folder: std::path::PathBuf,
}

impl Drop for Cleared {
    fn drop(&mut self) {
        let filter = format!("label=dev.meridian.agent={}", self.agent);
        for id in docker(&["ps", "-aq", "--filter", &filter]).split_whitespace() {
            docker(&["rm", "-f", id]);
        }
        for id in docker(&["volume", "ls", "-q", "--filter", &filter]).split_whitespace() {
            docker(&["volume", "rm", "-f", id]);
        }
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        for mount in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
            if std::path::Path::new(mount).starts_with(&self.folder) {
                let _ = Command::new("umount").arg(mount).output();
            }
        }
    }
}
