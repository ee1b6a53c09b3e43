//! Streams from a proxy's upgrade to the display, well-behaved and not.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[expect(dead_code, reason = "the agent's other tests use the rest")]
mod bench;

use bench::{
    Bench, LIMIT, end, run,
    support::dial,
    viewer::{Heard, PageKey, Plain, Viewer, key_event, update_request},
    wait_for,
};
use jiff::{SignedDuration, Timestamp};
use meridian_engine::Faults;
use meridian_identity::NodeName;
use meridian_ids::{NodeId, SessionId};
use meridian_model::{NodeRole, Policy, Transport};
use meridian_runtime::Clock;
use meridian_stream::{Channel, Code, Frame, Verdict};
use meridian_ticket::{Grant, SigningKey, agent_audience};
use meridian_wire::{Observation, Revocation, agent_paths};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

#[tokio::test]
async fn a_plain_client_sees_the_desktop_and_its_input_arrives() {
    let bench = Bench::new().await;
    let session = bench.running().await;
    let mut client = Plain::new(bench.open(&bench.grant(session, Transport::Binary)).await.unwrap());
    let size = client.shake_hands().await;
    assert_eq!(client.frame(size).await.len(), 64 * 48 * 4);
    client.send(&key_event(true)).await;
    client.send(&[6, 0, 0, 0, 0, 0, 0, 3, b'c', b'u', b't']).await;
    client.send(&key_event(false)).await;
    wait_for("the keys", || {
        let keys = bench.daemon.messages(session);
        (keys.ends_with(&[key_event(true).to_vec(), key_event(false).to_vec()])).then_some(())
    })
    .await;
    wait_for("the report of a stream", || {
        bench.control.observed(session).filter(|observed| observed.streams == 1)
    })
    .await;
    bench.finish(session, 2);
    let close = client.closed().await.unwrap();
    assert!(close.reason.contains("its user ended it"), "{}", close.reason);
    bench.observed(session, |seen| *seen == Observation::Gone).await;
    assert!(bench.daemon.names().is_empty());
    bench.end().await;
}

#[tokio::test]
async fn a_viewer_attaches_with_its_key_sees_the_desktop_and_shares_a_clipboard() {
    let bench = Bench::new().await;
    let (session, key) = (bench.running().await, PageKey::new());
    let grant = Grant { jkt: key.thumbprint(), ..bench.grant(session, Transport::MeridianV1) };
    let (mut viewer, verdict) =
        Viewer::attach(bench.open(&grant).await.unwrap(), 1, Some(&key)).await.unwrap();
    assert_eq!(verdict, Verdict::New);
    assert_eq!(viewer.hear().await, Heard::Record(Channel::Control, r#"{"type":"ready"}"#.into()));
    viewer.shake_hands().await;
    viewer.send(Channel::Display, &update_request()).await;
    assert_eq!(viewer.read(16 + 64 * 48 * 4).await[..4], [0, 0, 0, 1]);
    viewer.send_frame(Frame::Ping { token: 7 }).await;
    assert_eq!(viewer.hear().await, Heard::Frame(Frame::Pong { token: 7 }));

    bench.daemon.copy(session, "from within");
    let text = r#"{"type":"text","text":"from within"}"#;
    assert_eq!(viewer.hear().await, Heard::Record(Channel::Clipboard, text.into()));
    let long = format!(r#"{{"type":"text","text":"{}"}}"#, "x".repeat(200_000));
    viewer.send(Channel::Clipboard, r#"{"type":"text","text":"from without"}"#.as_bytes()).await;
    wait_for("the text", || (bench.daemon.texts(session) == ["from without"]).then_some(())).await;
    bench.daemon.copy(session, &"y".repeat(200_000));
    let Heard::Record(Channel::Clipboard, found) = viewer.hear().await else { panic!("no text") };
    assert_eq!(found.len(), long.len(), "longer than any message");

    bench.finish(session, 2);
    assert_eq!(viewer.noticed().await, Code::Ended);
    viewer.closed().await;
    bench.end().await;
}

#[tokio::test]
async fn held_keys_are_released_when_the_path_breaks() {
    let bench = Bench::new().await;
    let session = bench.running().await;
    let grant = bench.grant(session, Transport::MeridianV1);
    let (mut viewer, _) = Viewer::attach(bench.open(&grant).await.unwrap(), 1, None).await.unwrap();
    viewer.shake_hands().await;
    viewer.send(Channel::Display, &key_event(true)).await;
    let pressed = || bench.daemon.messages(session).last() == Some(&key_event(true).to_vec());
    wait_for("the key", || pressed().then_some(())).await;
    drop(viewer);
    let released = || bench.daemon.messages(session).last() == Some(&key_event(false).to_vec());
    wait_for("its release", || released().then_some(())).await;
    bench.end().await;
}

#[tokio::test]
async fn every_grant_that_does_not_fit_is_refused_with_the_reason() {
    let bench = Bench::new().await;
    let session = bench.running().await;
    let good = || bench.grant(session, Transport::Binary);
    let now = bench.control.clock.now().as_second();

    let used = good();
    let _open = bench.open(&used).await.unwrap();
    let cases = [
        ("used before", used, "used already"),
        ("expired", Grant { iat: now - 600, exp: now - 540, ..good() }, "expired"),
        ("of the future", Grant { iat: now + 600, exp: now + 660, ..good() }, "not valid yet"),
        ("for another agent", Grant { aud: agent_audience(NodeId::generate()), ..good() }, "somewhere else"),
        ("another proxy's", Grant { proxy: NodeId::generate(), ..good() }, "another proxy"),
        (
            "another deployment's",
            Grant { iss: meridian_ids::DeploymentId::generate(), ..good() },
            "deployment",
        ),
    ];
    for (what, grant, said) in cases {
        let (status, refusal) = bench.open(&grant).await.unwrap_err();
        assert_eq!((status, refusal.error.hop.as_deref()), (403, Some("agent")), "{what}");
        assert!(refusal.error.message.contains(said), "{what}: {}", refusal.error.message);
    }

    let (status, refusal) = bench.open(&Grant { iat: now - 25, ..good() }).await.unwrap_err();
    assert_eq!((status, refusal.error.code.as_str()), (503, "agent_restarted"), "before the agent's start");

    let forged = SigningKey::generate().unwrap().sign_grant(&good());
    let (status, _) = bench.open_as(&bench.proxy_tls, &good(), &forged).await.unwrap_err();
    assert_eq!(status, 403, "forged");
    let token = bench.control.signing.sign_grant(&good());
    let elsewhere = Grant { sub: SessionId::generate(), ..good() };
    let (status, _) = bench.open_as(&bench.proxy_tls, &elsewhere, &token).await.unwrap_err();
    assert_eq!(status, 403, "for another session's path");
    let other = Grant { transport: Transport::MeridianV1, ..good() };
    let (status, _) = bench.open_as(&bench.proxy_tls, &other, &token).await.unwrap_err();
    assert_eq!(status, 403, "for another subprotocol");
    bench.end().await;
}

#[tokio::test]
async fn a_grant_for_an_older_generation_or_an_ended_session_is_refused() {
    let bench = Bench::new().await;
    let session = bench.running().await;
    let old = bench.grant(session, Transport::Binary);
    bench.run(session, 2);
    wait_for("the new generation", || {
        bench.control.observed(session).filter(|observed| observed.generation == 2)
    })
    .await;
    let (status, refusal) = bench.open(&old).await.unwrap_err();
    assert_eq!((status, refusal.error.code.as_str()), (409, "stale_generation"));
    bench.finish(session, 3);
    bench.observed(session, |seen| *seen == Observation::Gone).await;
    let (status, refusal) =
        bench.open(&Grant { generation: 3, ..bench.grant(session, Transport::Binary) }).await.unwrap_err();
    assert_eq!((status, refusal.error.code.as_str()), (410, "session_ended"));
    bench.end().await;
}

#[tokio::test]
async fn a_proxy_of_another_zone_and_a_push_by_a_proxy_are_turned_away() {
    let bench = Bench::new().await;
    let name = NodeName {
        node: NodeId::generate(),
        role: NodeRole::Proxy,
        zone: Some(meridian_ids::ZoneId::generate()),
    };
    let tls = bench.control.identity(name, &[]);
    assert_eq!(post_push(&bench, &tls, b"{}").await, "", "closed without a word");
    assert!(post_push(&bench, &bench.proxy_tls, b"{}").await.starts_with("HTTP/1.1 403"));
    assert!(post_push(&bench, &bench.web_tls(), b"{}").await.starts_with("HTTP/1.1 400"));
    bench.end().await;
}

#[tokio::test]
async fn a_push_brings_a_session_and_one_that_comes_after_the_end_does_not() {
    let bench = Bench::new().await;
    let (session, tls) = (SessionId::generate(), bench.web_tls());
    let push = |order| {
        let mut update = bench.control.update(i64::MAX);
        (update.version, update.settings) = (0, None);
        update.sessions.push(order);
        serde_json::to_vec(&update).unwrap()
    };
    assert!(post_push(&bench, &tls, &push(run(session, 1, 1))).await.starts_with("HTTP/1.1 204"));
    bench.observed(session, |seen| *seen == Observation::Running).await;
    assert!(post_push(&bench, &tls, &push(end(session, 1, 2))).await.starts_with("HTTP/1.1 204"));
    bench.observed(session, |seen| *seen == Observation::Gone).await;
    assert!(post_push(&bench, &tls, &push(run(session, 1, 1))).await.starts_with("HTTP/1.1 204"));
    assert!(post_push(&bench, &tls, &push(run(session, 2, 1))).await.starts_with("HTTP/1.1 204"));
    wait_for("the later number", || bench.control.observed(session).filter(|observed| observed.epoch == 2))
        .await;
    bench.observed(session, |seen| *seen == Observation::Gone).await;
    assert!(bench.daemon.names().is_empty(), "nothing is resurrected");
    bench.end().await;
}

async fn post_push(bench: &Bench, tls: &meridian_identity::NodeTls, body: &[u8]) -> String {
    let mut stream = dial(bench.agent_address(), &bench.agent.name.to_string(), tls).await.unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        agent_paths::PUSH,
        body.len()
    );
    let mut answer = Vec::new();
    // A side that closes at once may break the write already.
    let _ = stream.write_all(&[head.as_bytes(), body].concat()).await;
    let _ = timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_viewer_that_comes_early_waits_for_the_display() {
    let bench = Bench::new().await;
    bench.daemon.set_faults(Faults { blind: true, ..Faults::default() });
    let session = SessionId::generate();
    bench.run(session, 1);
    bench.observed(session, |seen| matches!(seen, Observation::Starting { .. })).await;
    let grant = bench.grant(session, Transport::MeridianV1);
    let (mut viewer, _) = Viewer::attach(bench.open(&grant).await.unwrap(), 1, None).await.unwrap();
    viewer.send_frame(Frame::Ping { token: 1 }).await;
    assert_eq!(viewer.hear().await, Heard::Frame(Frame::Pong { token: 1 }), "answered while it waits");
    bench.daemon.show(session, &bench.leaf(session)).unwrap();
    assert_eq!(viewer.hear().await, Heard::Record(Channel::Control, r#"{"type":"ready"}"#.into()));
    viewer.shake_hands().await;
    bench.end().await;
}

#[tokio::test]
async fn a_link_in_place_of_the_display_is_not_followed() {
    let bench = Bench::new().await;
    let session = bench.running().await;
    let leaf = bench.leaf(session);
    std::fs::rename(leaf.join("rfb.sock"), leaf.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", leaf.join("rfb.sock")).unwrap();
    let grant = bench.grant(session, Transport::MeridianV1);
    let (mut viewer, _) = Viewer::attach(bench.open(&grant).await.unwrap(), 1, None).await.unwrap();
    assert_eq!(viewer.noticed().await, Code::DisplayUnavailable);
    bench.end().await;
}

#[tokio::test]
async fn a_later_attach_takes_the_stream_and_an_earlier_one_is_refused() {
    let bench = Bench::new().await;
    let session = bench.running().await;
    let grant = bench.grant(session, Transport::MeridianV1);
    let again = || Grant { jti: meridian_ids::GrantId::generate(), ..grant.clone() };
    let (mut first, _) = Viewer::attach(bench.open(&grant).await.unwrap(), 1, None).await.unwrap();
    let (mut second, verdict) = Viewer::attach(bench.open(&again()).await.unwrap(), 2, None).await.unwrap();
    assert_eq!(verdict, Verdict::Restarted);
    assert_eq!(first.noticed().await, Code::Superseded);
    let late = Viewer::attach(bench.open(&again()).await.unwrap(), 2, None).await;
    assert_eq!(late.err(), Some(Code::Superseded));
    second.shake_hands().await;
    bench.end().await;
}

#[tokio::test]
async fn an_attach_without_the_grants_key_is_refused() {
    let bench = Bench::new().await;
    let (session, key) = (bench.running().await, PageKey::new());
    let bound = || Grant { jkt: key.thumbprint(), ..bench.grant(session, Transport::MeridianV1) };
    for wrong in [None, Some(PageKey::new())] {
        let attached = Viewer::attach(bench.open(&bound()).await.unwrap(), 1, wrong.as_ref()).await;
        assert_eq!(attached.err(), Some(Code::Key));
    }
    bench.end().await;
}

#[tokio::test]
async fn a_watcher_changes_nothing() {
    let bench = Bench::new().await;
    let session = bench.running().await;
    let policy = Policy { input: false, clipboard_in: false, clipboard_out: false, resize: false };
    let grant = Grant { policy, ..bench.grant(session, Transport::MeridianV1) };
    let (mut viewer, _) = Viewer::attach(bench.open(&grant).await.unwrap(), 1, None).await.unwrap();
    viewer.shake_hands().await;
    bench.daemon.copy(session, "secret");
    viewer.send(Channel::Display, &key_event(true)).await;
    viewer.send(Channel::Clipboard, br#"{"type":"text","text":"x"}"#).await;
    assert_eq!(viewer.noticed().await, Code::ClipboardRefused);
    viewer.send(Channel::Display, &update_request()).await;
    viewer.read(16 + 64 * 48 * 4).await;
    let messages = bench.daemon.messages(session);
    assert!(messages.iter().all(|message| message[0] != 4), "no key arrived");
    assert!(bench.daemon.texts(session).is_empty());
    bench.end().await;
}

#[tokio::test]
async fn a_viewer_that_breaks_the_rules_is_told_and_cut_off() {
    let bench = Bench::new().await;
    let session = bench.running().await;
    let breaches: [(&str, Frame); 3] = [
        ("a gap", Frame::Data { offset: 99, bytes: bytes::Bytes::from_static(b"x") }),
        ("a false acknowledgement", Frame::Ack { received: 1 << 40 }),
        ("an unknown channel", Frame::Data { offset: 0, bytes: bytes::Bytes::from_static(&[9, 0, 0, 0, 0]) }),
    ];
    for (what, breach) in breaches {
        let grant = bench.grant(session, Transport::MeridianV1);
        let (mut viewer, _) = Viewer::attach(bench.open(&grant).await.unwrap(), 1, None).await.unwrap();
        viewer.send_frame(breach).await;
        assert_eq!(viewer.noticed().await, Code::Protocol, "{what}");
    }
    bench.end().await;
}

#[tokio::test]
async fn a_revocation_cuts_older_streams_and_refuses_older_grants() {
    let bench = Bench::new().await;
    let session = bench.running().await;
    let grant = bench.grant(session, Transport::MeridianV1);
    let late = Grant { jti: meridian_ids::GrantId::generate(), ..grant.clone() };
    let (mut viewer, _) = Viewer::attach(bench.open(&grant).await.unwrap(), 1, None).await.unwrap();
    let issued_before = Timestamp::from_second(grant.iat + 1).unwrap();
    bench.control.revoke(Revocation { session_id: session, issued_before, because: None });
    assert_eq!(viewer.noticed().await, Code::Revoked);
    let (status, refusal) = bench.open(&late).await.unwrap_err();
    assert_eq!((status, refusal.error.code.as_str()), (403, "revoked"));
    bench.end().await;
}

#[tokio::test]
async fn viewers_are_told_when_the_agent_stops_and_the_workspace_goes_on() {
    let bench = Bench::new().await;
    let session = bench.running().await;
    let grant = bench.grant(session, Transport::MeridianV1);
    let (mut viewer, _) = Viewer::attach(bench.open(&grant).await.unwrap(), 1, None).await.unwrap();
    viewer.shake_hands().await;
    bench.tell_to_stop();
    assert_eq!(viewer.noticed().await, Code::Draining);
    viewer.closed().await;
    bench.stop_agent().await;
    assert_eq!(bench.daemon.names().len(), 1);
    bench.end().await;
}

#[tokio::test]
async fn clocks_a_minute_apart_do_no_harm() {
    for minutes in [-1, 1] {
        let now = Clock::system().now() + SignedDuration::from_mins(minutes);
        let bench = Bench::with_control_clock(Clock::fixed(now)).await;
        let session = bench.running().await;
        let mut client = Plain::new(bench.open(&bench.grant(session, Transport::Binary)).await.unwrap());
        client.shake_hands().await;
        bench.end().await;
    }
}

#[tokio::test]
async fn more_streams_than_configured_are_refused_politely() {
    let bench = Bench::new().await;
    let session = bench.running().await;
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(bench.open(&bench.grant(session, Transport::Binary)).await.unwrap());
    }
    let (status, refusal) = bench.open(&bench.grant(session, Transport::Binary)).await.unwrap_err();
    assert_eq!((status, refusal.error.code.as_str()), (503, "agent_busy"));
    open.pop();
    wait_for("room", || bench.control.observed(session).filter(|observed| observed.streams == 15)).await;
    bench.open(&bench.grant(session, Transport::Binary)).await.unwrap();
    bench.end().await;
}
