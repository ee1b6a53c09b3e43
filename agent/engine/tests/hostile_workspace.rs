//! A workspace's user tries what they should not get: run inside real containers, with what the images have.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[expect(dead_code, reason = "the conformance suite uses the rest")]
mod node;

use std::{net::TcpListener, process::Command};

use meridian_engine::{Engine, EngineError};
use meridian_model::{Network, Seccomp};
use node::{IMAGE, Node, docker, inside, order, wait_for};

#[tokio::test]
async fn a_workspace_has_no_capability_no_new_privileges_and_no_writable_root() {
    let node = Node::new();
    let session = node.start(Network::None).await;
    let (_, status) = inside(session, "cat /proc/self/status; id -u; id -g");
    for line in [
        "CapInh:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(status.contains(line), "{line} is not in {status}");
    }
    assert!(status.ends_with("1000\n1000"));
    let (_, tries) = inside(
        session,
        "for at in / /run /etc /usr/bin /opt /var/lib; do touch $at/x 2>/dev/null && echo wrote $at; done; \
         unshare -U true 2>/dev/null && echo unshared; mount -t tmpfs x /mnt 2>/dev/null && echo mounted; \
         cp /bin/true /run/stream/x && chmod +x /run/stream/x && /run/stream/x 2>/dev/null && echo ran; \
         rm -f /run/stream/x; ls /sys/class/net; echo done",
    );
    assert_eq!(tries, "lo\ndone");
    let name = format!("meridian-{session}");
    let limits = docker(&[
        "inspect",
        "-f",
        "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} \
         {{.HostConfig.ShmSize}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.Init}} {{.HostConfig.LogConfig.Type}}",
        &name,
    ]);
    assert_eq!(limits, "536870912 536870912 500000000 256 67108864 no true json-file");
    node.engine.remove(session).await.unwrap();
}

#[tokio::test]
async fn what_a_workspace_can_write_is_bounded_everywhere() {
    let node = Node::new();
    let session = node.start(Network::None).await;
    for (place, at_most_kib) in
        [("/home/user", 33_000), ("/tmp", 33_000), ("/run/stream", 1_100), ("/dev/shm", 66_000)]
    {
        let (_, size) = inside(
            session,
            &format!(
                "head -c 80M /dev/zero >{place}/much 2>/dev/null; du -k {place}/much | cut -f1; rm -f {place}/much"
            ),
        );
        let size: u64 = size.parse().unwrap_or_else(|_| panic!("{place}: {size}"));
        assert!(size > 0 && size <= at_most_kib, "{place} took {size} KiB");
    }
    node.engine.remove(session).await.unwrap();
}

#[tokio::test]
async fn files_and_container_survive_a_restart_of_the_agent() {
    let node = Node::new();
    let session = node.start(Network::None).await;
    assert!(inside(session, "echo kept >~/file").0);
    let again = node.again();
    again.start(&meridian_engine::Order { session, ..order(IMAGE, Network::None) }, &|_| {}).await.unwrap();
    assert_eq!(inside(session, "cat ~/file"), (true, "kept".into()));
    again.remove(session).await.unwrap();
    assert_eq!(docker(&["volume", "ls", "-q", "--filter", &format!("name=meridian-{session}")]), "");
}

#[tokio::test]
async fn a_workspace_without_a_network_has_no_interface_and_listens_nowhere_else() {
    let node = Node::new();
    let session = node.start(Network::None).await;
    let address = docker(&[
        "inspect",
        "-f",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        &format!("meridian-{session}"),
    ]);
    assert_eq!(address, "", "nothing that anybody could reach");
    assert!(!inside(session, "timeout 2 bash -c 'exec 3<>/dev/tcp/192.0.2.1/80'").0);
    node.engine.remove(session).await.unwrap();
}

#[tokio::test]
async fn an_internet_workspace_reaches_public_addresses_and_neither_host_nor_neighbours_nor_private_ranges() {
    let node = Node::new();
    let outside = Outside::new();
    let capabilities = node.engine.capabilities().await.unwrap();
    assert!(capabilities.networks.contains(&Network::Internet), "{:?}", capabilities.problems);
    let (mine, other) = tokio::join!(node.start(Network::Internet), node.start(Network::Internet));
    let reach = |address: &str, port: u16| {
        inside(mine, &format!("timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/{port}'")).0
    };
    wait_for("the public address", async || reach(&outside.public(), outside.port).then_some(())).await;
    assert!(!reach(&outside.private(), outside.port), "a private range beyond the host");

    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (_, gateway) = inside(mine, "awk '$2 == \"00000000\" {print $3}' /proc/net/route");
    let gateway = u32::from_str_radix(&gateway, 16).unwrap().to_le_bytes();
    let gateway = std::net::Ipv4Addr::from(gateway).to_string();
    assert!(!reach(&gateway, port), "the host by its bridge");
    assert!(!reach(&outside.host(), port), "the host by another of its addresses");

    let listen = "perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(LocalPort => 4000, Listen => 5, ReuseAddr => 1) or die; $| = 1; print \"up\\n\"; $s->accept while 1' >/tmp/up 2>&1 &";
    assert!(inside(other, listen).0);
    wait_for("the neighbour's listener", async || inside(other, "grep -q up /tmp/up").0.then_some(())).await;
    let neighbour = docker(&[
        "inspect",
        "-f",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        &format!("meridian-{other}"),
    ]);
    assert!(!reach(&neighbour, 4000), "a neighbour of the same agent");
    let open = node.start(Network::Full).await;
    let knock = format!("timeout 3 bash -c 'exec 3<>/dev/tcp/{neighbour}/4000'");
    assert!(!inside(open, &knock).0, "from a workspace with the full network");

    // What someone flushed is there again before the next workspace is.
    let table = format!("meridian_{}", node.owner.short());
    let deleted = Command::new("nft").args(["delete", "table", "inet", &table]).status().unwrap();
    assert!(deleted.success());
    let third = node.start(Network::Internet).await;
    assert!(!reach(&gateway, port), "after the rules came back");
    for session in [mine, other, open, third] {
        node.engine.remove(session).await.unwrap();
    }
    let filter = format!("label=dev.meridian.agent={}", node.owner.agent);
    assert_eq!(docker(&["network", "ls", "-q", "--filter", &filter]), "");
    let listed = Command::new("nft").args(["list", "table", "inet", &table]).output().unwrap();
    assert!(!listed.status.success(), "the rules went with the last bridge");
}

#[tokio::test]
async fn a_profile_that_is_missing_refuses_the_start_in_words() {
    let node = Node::new();
    let mut order = order(IMAGE, Network::None);
    order.spec.seccomp = Seccomp::Chromium;
    let refused = node.engine.start(&order, &|_| {}).await;
    assert!(
        matches!(&refused, Err(EngineError::Refused(reason)) if reason.contains("chromium.json")),
        "{refused:?}"
    );
    assert_eq!(node.engine.list().await, Ok(Vec::new()));
}

#[tokio::test]
async fn the_browsers_profile_adds_user_namespaces_and_nothing_that_leaves_the_container() {
    let node = Node::new();
    let mut order = order(IMAGE, Network::None);
    order.spec.seccomp = Seccomp::Chromium;
    let engine = node.with_profiles();
    engine.start(&order, &|_| {}).await.unwrap();
    let (worked, said) = inside(order.session, "unshare -U true");
    assert!(worked, "a namespace of its own, which a browser's sandbox needs: {said}");
    let (_, status) = inside(order.session, "cat /proc/self/status");
    assert!(status.contains("CapEff:\t0000000000000000") && status.contains("NoNewPrivs:\t1"), "{status}");
    let (mounted, _) =
        inside(order.session, "unshare -Urm mount --bind /home/user /etc && touch /etc/x && cat /etc/x");
    let (_, outside) = inside(order.session, "ls /etc/x 2>/dev/null");
    assert_eq!(outside, "", "what is mounted in there (it worked: {mounted}) stays in there");
    engine.remove(order.session).await.unwrap();
}

#[tokio::test]
async fn a_workspace_that_ends_or_is_killed_is_found_with_the_reason() {
    let node = Node::new();
    let session = node.start(Network::None).await;
    docker(&["kill", &format!("meridian-{session}")]);
    let reason = wait_for("the end", async || {
        let found = node.engine.list().await.unwrap();
        found.into_iter().find_map(|found| match found.state {
            meridian_engine::ContainerState::Exited { reason } => Some(reason),
            meridian_engine::ContainerState::Created | meridian_engine::ContainerState::Running => None,
        })
    })
    .await;
    assert_eq!(reason, "the workspace ended with exit code 137");
    node.engine.remove(session).await.unwrap();
}

/// A host beyond this one, with a public and a private address: a network namespace. The addresses are of ranges for documentation and of RFC 1918,
/// the namespace's number keeps tests that run side by side apart.
struct Outside {
    number: u8,
    port: u16,
    server: Option<std::process::Child>,
}

impl Outside {
    fn new() -> Self {
        let number = u8::try_from(std::process::id() % 60).unwrap();
        let mut outside = Self { number, port: 8099, server: None };
        outside.remove();
        let (name, host, public) = (outside.name(), outside.host(), outside.public());
        let private = outside.private();
        let script = format!(
            "ip netns add {name} && ip link add {name} type veth peer name eth0 netns {name} && \
             ip addr add {host}/30 dev {name} && ip link set {name} up && \
             ip -n {name} addr add {public}/30 dev eth0 && ip -n {name} link set lo up && \
             ip -n {name} addr add {private}/32 dev lo && ip -n {name} link set eth0 up && \
             ip -n {name} route add default via {host} && ip route add {private}/32 via {public}"
        );
        let made = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let listen = format!(
            "use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => {}, Listen => 5, ReuseAddr => 1) or die; $s->accept while 1",
            outside.port
        );
        let mut server = Command::new("ip");
        outside.server = Some(server.args(["netns", "exec", &name, "perl", "-e", &listen]).spawn().unwrap());
        outside
    }

    fn name(&self) -> String {
        format!("mtest{}", self.number)
    }

    fn host(&self) -> String {
        format!("203.0.113.{}", self.number * 4 + 1)
    }

    fn public(&self) -> String {
        format!("203.0.113.{}", self.number * 4 + 2)
    }

    fn private(&self) -> String {
        format!("10.255.{}.1", self.number)
    }

    fn remove(&self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name()]).output();
        let _ = Command::new("ip").args(["link", "del", &self.name()]).output();
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
        self.remove();
    }
}
