//! Images from a real registry that asks for a login, and from an archive, through the real container engine.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[expect(dead_code, reason = "the tests of workspaces use the rest")]
mod node;

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Mutex,
};

use meridian_engine::{Engine, Image, Loaded, Login, Pull, PullError, Source};
use meridian_runtime::Secret;
use node::{Node, docker, wait_for};

const USERNAME: &str = "puller";
const PASSWORD: &str = "right and long";
/// The password's line, as `htpasswd -B` writes it.
const HTPASSWD: &str = "puller:$2b$05$abcdefghijklmnopqrstuuex3f.AWanGNbjf/csaNf4AGz9iE/TZ2\n";

/// A registry of this test alone, and what was put into it.
struct Registry {
    process: Child,
    folder: tempfile::TempDir,
    host: String,
}

impl Registry {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let file = |name: &str| folder.path().join(name);
        fs::write(file("htpasswd"), HTPASSWD).unwrap();
        let configuration = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp: {{addr: '{host}'}}\n\
             auth:\n  htpasswd: {{realm: test, path: {}}}\n",
            file("storage").display(),
            file("htpasswd").display()
        );
        fs::write(file("config.yml"), configuration).unwrap();
        let process = Command::new(program())
            .arg("serve")
            .arg(file("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self { process, folder, host };
        wait_for("the registry", async || std::net::TcpStream::connect(&registry.host).ok()).await;
        registry
    }

    /// Puts an image of some megabytes into the registry; nothing of it stays on the node. Gives its digest.
    fn publish(&self, reference: &str) -> String {
        self.publish_other(reference, 0)
    }

    /// Another image for each number.
    fn publish_other(&self, reference: &str, number: u32) -> String {
        let folder = self.folder.path();
        let (content, tar) = (folder.join("content"), folder.join("content.tar"));
        let bytes: Vec<u8> = (0..4 << 20)
            .map(|index: u32| ((index ^ number).wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        fs::write(&content, bytes).unwrap();
        assert!(
            Command::new("tar")
                .arg("-cf")
                .arg(&tar)
                .arg("-C")
                .arg(folder)
                .arg("content")
                .status()
                .unwrap()
                .success()
        );
        docker(&["import", &tar.to_string_lossy(), reference]);
        let settings = folder.join("docker");
        let as_pusher = |arguments: &[&str], input: &str| {
            let mut child = Command::new("docker")
                .arg("--config")
                .arg(&settings)
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success(), "{arguments:?}");
        };
        as_pusher(&["login", "-u", USERNAME, "--password-stdin", &self.host], PASSWORD);
        as_pusher(&["push", "-q", reference], "");
        let digests = docker(&["inspect", "-f", "{{join .RepoDigests \" \"}}", reference]);
        docker(&["rmi", "-f", reference]);
        digests.split('@').nth(1).unwrap().trim().to_owned()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let filter = format!("reference={}/*/*", self.host);
        for id in docker(&["images", "-q", "--filter", &filter]).split_whitespace() {
            docker(&["rmi", "-f", id]);
        }
    }
}

fn program() -> &'static str {
    let found = |name: &&str| {
        std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|path| path.join(name).exists())
    };
    ["docker-registry", "registry"].into_iter().find(found).expect("deploy/install/need.sh docker-registry")
}

fn from_registry(reference: &str, password: Option<&str>) -> Pull {
    let login =
        password.map(|password| Login { username: USERNAME.into(), password: Secret::new(password.into()) });
    Pull { reference: reference.into(), source: Source::Registry { login } }
}

async fn has(node: &Node, reference: &str) -> Option<Image> {
    node.engine.images().await.unwrap().into_iter().find(|image| image.reference == reference)
}

fn lasting(result: Result<(), PullError>) -> String {
    match result {
        Err(PullError::Lasting(reason)) => reason,
        other @ (Ok(()) | Err(PullError::Passing(_))) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_tag_that_is_asked_for_again_means_what_the_registry_has_by_then_and_stays_where_it_is_away() {
    let (node, mut registry) = (Node::new(), Registry::start().await);
    let tagged = format!("{}/team/moving:1", registry.host);
    let before = registry.publish_other(&tagged, 1);
    let pull = from_registry(&tagged, Some(PASSWORD));
    node.engine.pull(&pull, &|_| {}).await.unwrap();
    let first = has(&node, &tagged).await.unwrap();
    assert_eq!(first.digest.as_deref(), Some(&*before));

    // Pushed by somebody elsewhere, and the tag means that from now on; asked again, nothing changes.
    docker(&["tag", &tagged, "meridian-test/kept:1"]);
    let after = registry.publish_other(&tagged, 2);
    docker(&["tag", "meridian-test/kept:1", &tagged]);
    docker(&["rmi", "meridian-test/kept:1"]);
    assert_ne!(before, after);
    assert_eq!(has(&node, &tagged).await.unwrap().id, first.id);
    for _ in 0..2 {
        node.engine.pull(&pull, &|_| {}).await.unwrap();
        let second = has(&node, &tagged).await.unwrap();
        assert_eq!((second.digest.as_deref(), second.id != first.id), (Some(&*after), true));
    }

    registry.process.kill().unwrap();
    registry.process.wait().unwrap();
    assert!(node.engine.pull(&pull, &|_| {}).await.is_err());
    assert_eq!(has(&node, &tagged).await.unwrap().digest.as_deref(), Some(&*after));
}

#[tokio::test]
async fn a_registry_gives_its_images_to_whoever_has_the_login_and_only_as_they_are_wanted() {
    let (node, registry) = (Node::new(), Registry::start().await);
    let tagged = format!("{}/team/small:1", registry.host);
    let digest = registry.publish(&tagged);
    assert_eq!(has(&node, &tagged).await, None);

    let without = lasting(node.engine.pull(&from_registry(&tagged, None), &|_| {}).await);
    assert!(without.contains(&registry.host) && without.contains("has none for it"), "{without}");
    let wrong = lasting(node.engine.pull(&from_registry(&tagged, Some("wrong and long")), &|_| {}).await);
    assert!(wrong.contains("refuses this zone's login") && !wrong.contains("wrong and long"), "{wrong}");
    assert_eq!(has(&node, &tagged).await, None);

    let steps = Mutex::new(Vec::new());
    let pull = from_registry(&tagged, Some(PASSWORD));
    node.engine.pull(&pull, &|loaded| steps.lock().unwrap().push(loaded)).await.unwrap();
    let image = has(&node, &tagged).await.unwrap();
    assert_eq!((image.digest.as_deref(), image.size_bytes >= 4 << 20), (Some(&*digest), true), "{image:?}");
    let last = steps.into_inner().unwrap().pop();
    assert!(
        matches!(last, Some(Loaded { done_bytes, total_bytes }) if done_bytes == total_bytes && done_bytes > 0),
        "{last:?}"
    );

    docker(&["rmi", "-f", &tagged]);
    let pinned = format!("{}/team/small@{digest}", registry.host);
    node.engine.pull(&from_registry(&pinned, Some(PASSWORD)), &|_| {}).await.unwrap();
    assert_eq!(has(&node, &pinned).await.map(|image| image.digest), Some(Some(digest)));
    for missing in [
        format!("{}/team/small@sha256:{}", registry.host, "0".repeat(64)),
        format!("{}/team/small:2", registry.host),
    ] {
        let reason = lasting(node.engine.pull(&from_registry(&missing, Some(PASSWORD)), &|_| {}).await);
        assert!(reason.contains("does not have it"), "{reason}");
    }
    let host = registry.host.clone();
    drop(registry);
    let gone =
        node.engine.pull(&from_registry(&format!("{host}/team/small:3"), Some(PASSWORD)), &|_| {}).await;
    assert!(matches!(&gone, Err(PullError::Passing(reason)) if reason.contains(&host)), "{gone:?}");
}

#[tokio::test]
async fn an_archive_that_was_saved_is_loaded_and_another_image_is_not_taken_for_it() {
    let node = Node::new();
    let folder = tempfile::tempdir().unwrap();
    let (content, path) = (folder.path().join("content"), folder.path().join("small.tar"));
    fs::write(&content, vec![7; 1 << 20]).unwrap();
    let tar = folder.path().join("content.tar");
    let status =
        Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(folder.path()).arg("content").status();
    assert!(status.unwrap().success());
    let reference = format!("meridian-test/{}:1", node.owner.short());
    docker(&["import", &tar.to_string_lossy(), &reference]);
    docker(&["save", "-o", &path.to_string_lossy(), &reference]);
    docker(&["rmi", "-f", &reference]);
    assert_eq!(has(&node, &reference).await, None);

    let load = |reference: &str, path: &Path| Pull {
        reference: reference.into(),
        source: Source::Archive(path.into()),
    };
    node.engine.pull(&load(&reference, &path), &|_| {}).await.unwrap();
    assert!(has(&node, &reference).await.is_some_and(|image| image.digest.is_none()));
    let other = lasting(node.engine.pull(&load("meridian-test/other:1", &path), &|_| {}).await);
    assert!(other.contains("is not meridian-test/other:1"), "{other}");
    docker(&["rmi", "-f", &reference]);

    fs::write(&path, b"rubbish").unwrap();
    let rubbish = lasting(node.engine.pull(&load(&reference, &path), &|_| {}).await);
    assert!(rubbish.contains("small.tar"), "{rubbish}");
    let missing = lasting(node.engine.pull(&load(&reference, Path::new("/nowhere.tar")), &|_| {}).await);
    assert!(missing.contains("/nowhere.tar"), "{missing}");
}
