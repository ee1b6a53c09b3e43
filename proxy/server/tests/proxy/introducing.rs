//! A balancer in front that says whose a connection is.

use meridian_origin::{Origin, header_of};
use tokio::io::AsyncReadExt;

use crate::{
    browser::Browser,
    world::{World, within},
};

const PROBE: &str = "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n";

async fn behind(trusted: &str) -> World {
    let trusted = trusted.to_owned();
    World::with(|mut settings| {
        settings.trusted_proxies = vec![trusted];
        settings.proxy_protocol = true;
        settings.head_wait_s = 1;
        settings
    })
    .await
}

fn header(client: &str) -> Vec<u8> {
    let (client, server) = (client.parse().unwrap(), "198.51.100.1:443".parse().unwrap());
    header_of(Origin { client, server }).unwrap()
}

/// What is heard until the proxy ends the connection.
async fn until_the_end(world: &World, bytes: &[u8]) -> Vec<u8> {
    let mut browser = Browser::open(world.address()).await;
    browser.send(bytes).await;
    let mut heard = Vec::new();
    // A reset is an end as well.
    let _ = within("the end", browser.socket.read_to_end(&mut heard)).await;
    heard
}

#[tokio::test]
async fn the_client_that_a_trusted_balancer_names_is_the_viewer_and_its_own_words_do_not_count() {
    let world = behind("127.0.0.1").await;
    let request = world.request(&world.ticket());
    let answer =
        Browser::ask(world.address(), [&header("203.0.113.9:4711"), request.as_bytes()].concat()).await;
    assert_eq!(answer.status, 101, "{answer:?}");
    assert_eq!(world.web.asked()[0].client_address, "203.0.113.9", "and not what X-Forwarded-For says");
    let own = meridian_origin::own_header().unwrap();
    let answer = Browser::ask(world.address(), [&own, PROBE.as_bytes()].concat()).await;
    assert_eq!(answer.status, 200, "a check of the balancer's own");
}

#[tokio::test]
async fn a_header_that_is_missing_broken_or_late_ends_the_connection() {
    let world = behind("127.0.0.1").await;
    let whole = header("203.0.113.9:4711");
    let mut endless = whole.clone();
    endless[14..16].copy_from_slice(&[0xff, 0xff]);
    for bytes in [PROBE.as_bytes(), b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", &endless] {
        assert_eq!(until_the_end(&world, bytes).await, b"");
    }
    // Neither is a part of one waited for longer than for a head.
    for length in [0, 1, 15, whole.len() - 1] {
        assert_eq!(until_the_end(&world, &whole[..length]).await, b"", "{length}");
    }
    world.wait_until_quiet().await;
}

#[tokio::test]
async fn a_header_of_somebody_else_is_no_http() {
    let world = behind("192.0.2.0/24").await;
    let answer =
        Browser::ask(world.address(), [&header("203.0.113.9:4711"), PROBE.as_bytes()].concat()).await;
    assert_eq!((answer.status, answer.error().code.as_str()), (400, "malformed"));
    let answer = Browser::ask(world.address(), PROBE).await;
    assert_eq!(answer.status, 200, "without one they are served");
}
