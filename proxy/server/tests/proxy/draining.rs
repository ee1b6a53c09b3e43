//! A proxy that an administrator drains, and takes back.

use meridian_wire::agent_paths;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    agent::GREETING,
    browser::Browser,
    world::{World, wait_for, within},
};

const PROBE: &str = "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n";

impl World {
    async fn drain(&self, draining: bool) {
        self.web.change(|state| state.draining = draining);
        self.proxy.node.wake();
        let wanted = if draining { 503 } else { 200 };
        within("the probe's answer", async {
            while Browser::ask(self.address(), PROBE).await.status != wanted {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    fn goodbyes(&self) -> usize {
        let goodbye = format!("POST {} HTTP/1.1\r\n", agent_paths::DRAIN);
        self.agent.hear(|heard| heard.requests.iter().filter(|request| request.starts_with(&goodbye)).count())
    }

    fn told_streams(&self) -> Option<u32> {
        self.web.state.lock().unwrap().heartbeat.as_ref().and_then(|heartbeat| heartbeat.streams)
    }
}

#[tokio::test]
async fn a_drained_proxy_moves_its_viewers_refuses_new_ones_and_says_when_it_is_empty() {
    let world = World::new().await;
    let (mut browser, answer) = world.open_stream().await;
    browser.read(answer.rest, GREETING.len()).await;
    wait_for("the stream in a heartbeat", || world.told_streams() == Some(1)).await;

    world.drain(true).await;
    assert_eq!(world.health.reasons().into_keys().collect::<Vec<_>>(), ["draining"]);
    wait_for("the goodbye", || world.goodbyes() > 0).await;
    // Who came through a balancer that does not know yet is served; later on nobody is.
    let refused = within("a refusal", async {
        loop {
            let answer = Browser::ask(world.address(), world.request(&world.ticket())).await;
            if answer.status != 101 {
                return answer;
            }
        }
    })
    .await;
    assert_eq!((refused.status, refused.error().code.as_str()), (503, "proxy_draining"));
    assert!(refused.head.contains("Retry-After: 1\r\n"), "{}", refused.head);
    assert!(refused.error().hint.unwrap().contains("undrain"));
    let asked = world.web.asked().len();
    Browser::ask(world.address(), world.request(&world.ticket())).await;
    assert_eq!(world.web.asked().len(), asked, "a refusal uses no ticket up");

    browser.send("still here").await;
    assert_eq!(browser.read(Vec::new(), 10).await, b"still here", "what lives goes on");
    let told = world.goodbyes();
    wait_for("another goodbye to whoever stayed", || world.goodbyes() > told).await;
    drop(browser);
    wait_for("an empty proxy in a heartbeat", || world.told_streams() == Some(0)).await;

    world.drain(false).await;
    assert!(world.health.reasons().is_empty());
    within("a stream again", async {
        while Browser::ask(world.address(), world.request(&world.ticket())).await.status != 101 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_proxy_that_is_drained_stays_so_over_its_restart_and_when_nobody_says() {
    let world = World::new().await;
    world.drain(true).await;
    // A control plane of the release before, which does not speak of draining.
    let heard = world.proxy.node.settings();
    world.web.change(|state| {
        state.speaks_of_draining = false;
        state.zone.proxy_path = "elsewhere".into();
    });
    world.proxy.node.wake();
    wait_for("other settings", || {
        let heard = heard.borrow();
        heard
            .as_ref()
            .and_then(|heard| heard.zone.as_ref())
            .is_some_and(|zone| zone.proxy_path == "elsewhere")
    })
    .await;
    assert_eq!(Browser::ask(world.address(), PROBE).await.status, 503);
    let memory = world.folder.path().join("data/control.json");
    wait_for("the order on the disk", || {
        std::fs::read_to_string(&memory)
            .is_ok_and(|text| text.contains("\"draining\":true") && text.contains("elsewhere"))
    })
    .await;
    let again = world.restarted_alone().await;
    assert_eq!(Browser::ask(again.local_addr, PROBE).await.status, 503);
}

#[tokio::test]
async fn a_page_measures_its_distance_without_a_ticket_and_on_one_connection() {
    let world = World::new().await;
    let mut socket = tokio::net::TcpStream::connect(world.address()).await.unwrap();
    for round in 0..5 {
        let asked = "GET /desktop/probe HTTP/1.1\r\nHost: a\r\nOrigin: https://elsewhere.example.org\r\n\r\n";
        socket.write_all(asked.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        within("an answer", async {
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
        })
        .await;
        let head = String::from_utf8(head).unwrap();
        assert!(
            head.starts_with("HTTP/1.1 204 ") && head.contains("Access-Control-Allow-Origin: *"),
            "{round}: {head}"
        );
    }
    assert!(world.web.asked().is_empty(), "nobody is asked");
}
