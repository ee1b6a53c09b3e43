//! What a good connection carries, and what it does not.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    agent::GREETING,
    browser::{Browser, upgrade},
    world::{World, within},
};

#[tokio::test]
async fn a_stream_carries_both_ways_and_nothing_of_the_browsers_request_goes_upstream() {
    let world = World::new().await;
    let (mut browser, answer) = world.open_stream().await;
    assert!(answer.head.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert!(answer.head.contains("Sec-WebSocket-Protocol: meridian.v1\r\n"));
    for never in ["ticket", "extensions", "cookie"] {
        assert!(!answer.head.to_ascii_lowercase().contains(never), "{}", answer.head);
    }
    let heard = browser.read(answer.rest, GREETING.len()).await;
    assert_eq!(heard, GREETING);
    browser.send("hello").await;
    assert_eq!(browser.read(Vec::new(), 5).await, b"hello");
    let request = world.agent.hear(|heard| heard.requests.join("")).to_ascii_lowercase();
    assert!(request.contains("meridian-grant: the.stream.grant\r\n"));
    assert!(request.contains(&format!("host: {}.agent.{}.meridian\r\n", world.web.agent, world.web.zone)));
    for never in ["cookie", "authorization", "secret", "ticket", "origin", "forwarded", "extensions"] {
        assert!(!request.contains(never), "{never} went upstream");
    }
    let asked = world.web.asked();
    assert_eq!((asked.len(), asked[0].client_address.as_str()), (1, "127.0.0.1"));
    drop(browser);
    world.wait_until_quiet().await;
}

#[tokio::test]
async fn a_megabyte_each_way_arrives_whole() {
    let world = World::new().await;
    let (mut browser, answer) = world.open_stream().await;
    let mut heard = browser.read(answer.rest, GREETING.len()).await;
    heard.clear();
    let sent: Vec<u8> = (0..1_048_576_u32).map(|number| (number / 7) as u8).collect();
    let (mut reader, mut writer) = browser.socket.split();
    let writing = async {
        writer.write_all(&sent).await.unwrap();
    };
    let reading = async {
        while heard.len() < sent.len() {
            assert_ne!(reader.read_buf(&mut heard).await.unwrap(), 0);
        }
    };
    within("a megabyte", async { tokio::join!(writing, reading) }).await;
    assert!(heard == sent, "what came back differs");
}

#[tokio::test]
async fn a_half_closed_stream_still_hears_the_other_side() {
    let world = World::new().await;
    let (mut browser, answer) = world.open_stream().await;
    browser.send("last words").await;
    browser.socket.shutdown().await.unwrap();
    let mut heard = answer.rest;
    within("the end", browser.socket.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, [GREETING, b"last words", b";the end"].concat());
    world.wait_until_quiet().await;
}

#[tokio::test]
async fn what_the_browser_sends_too_early_is_not_lost() {
    let world = World::new().await;
    let mut browser = Browser::open(world.address()).await;
    browser.send(format!("{}early bird", world.request(&world.ticket()))).await;
    let answer = browser.answer().await;
    assert_eq!(answer.status, 101);
    let heard = browser.read(answer.rest, GREETING.len() + 10).await;
    assert_eq!(heard, [GREETING, b"early bird"].concat());
}

#[tokio::test]
async fn the_host_asked_for_stands_in_the_upstream_address_and_a_program_needs_no_origin() {
    let world = World::new().await;
    let port = world.web.public.port();
    world.web.change(|state| state.zone.upstream_auth_address = format!("http://$request_host$:{port}/"));
    world.heartbeat().await;
    let request = world.request(&world.ticket());
    let request = request
        .replace("work.example.org:8443", "127.0.0.1:1")
        .replace("Origin: https://work.example.org\r\n", "");
    let answer = Browser::ask(world.address(), request).await;
    assert_eq!(answer.status, 101);
    assert_eq!(world.web.asked().len(), 1);
}

#[tokio::test]
async fn the_viewers_address_comes_from_a_trusted_front() {
    let world = World::with(|mut settings| {
        settings.trusted_proxies = vec!["127.0.0.0/8".into()];
        settings
    })
    .await;
    let (_browser, _) = world.open_stream().await;
    assert_eq!(world.web.asked()[0].client_address, "6.6.6.6");
}

#[tokio::test]
async fn a_private_balancer_is_dialled_instead_of_the_agent() {
    let world = World::new().await;
    let address = world.agent.address.to_string();
    world.web.change(|state| {
        state.agents.clear();
        state.zone.private_balancer = address;
    });
    world.heartbeat().await;
    let (_browser, _) = world.open_stream().await;
    let other = upgrade("/desktop/x/stream", "binary");
    assert_eq!(Browser::ask(world.address(), other).await.status, 404);
}

#[tokio::test]
async fn a_pass_opens_a_stream_while_nobody_can_be_asked_and_more_than_once() {
    let world = World::new().await;
    let away = "http://127.0.0.1:1/".to_owned();
    world.web.change(|state| state.zone.upstream_auth_address = away);
    world.heartbeat().await;
    let refused = Browser::ask(world.address(), world.request(&world.ticket())).await;
    assert_eq!(refused.status, 502, "{refused:?}");
    let request = world.pass_request();
    for _ in 0..2 {
        let mut browser = Browser::open(world.address()).await;
        browser.send(&request).await;
        let answer = browser.answer().await;
        assert_eq!(answer.status, 101, "{answer:?}");
        assert!(!answer.head.contains("pass"), "{}", answer.head);
        assert_eq!(browser.read(answer.rest, GREETING.len()).await, GREETING);
    }
    assert_eq!(world.web.asked().len(), 0);
}
