//! Streams that outlive their paths, over real sockets.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[expect(dead_code, reason = "the agent's other tests use the rest")]
mod bench;

use bench::{
    Bench,
    page::Page,
    stand_in::flood_bytes,
    viewer::{Heard, PageKey, Viewer, key_event, last_notice},
    wait_for,
};
use futures_util::SinkExt;
use jiff::{SignedDuration, Timestamp};
use meridian_ids::{NodeId, ZoneId};
use meridian_model::{Policy, Transport};
use meridian_runtime::Clock;
use meridian_stream::{Channel, Code, Frame, Verdict};
use meridian_ticket::{Grant, Pass, resume_audience};
use meridian_wire::Revocation;
use tokio_tungstenite::tungstenite::Message;

/// A clipboard record's payload.
fn record(text: &str) -> String {
    format!(r#"{{"type":"text","text":"{text}"}}"#)
}

fn pointer_event(at: u16) -> [u8; 6] {
    let [high, low] = at.to_be_bytes();
    [5, 0, high, low, 0, 7]
}

#[tokio::test]
async fn a_path_that_is_cut_twenty_times_loses_and_repeats_nothing() {
    const FLOOD: usize = 3_000_000;
    let page = Page::new(FLOOD).await;
    let mut viewer = page.viewer().await;
    let (mut found, mut said) = (Vec::new(), Vec::new());
    let mut say = |viewer: &mut Viewer, at: u16| {
        viewer.write(Channel::Display, &pointer_event(at));
        said.extend(pointer_event(at));
    };
    for round in 0..20_u16 {
        say(&mut viewer, round * 3);
        viewer.send(Channel::Control, b"{}").await;
        found.extend(viewer.read(1 + usize::from(round) * 7919 % 100_000).await);
        say(&mut viewer, round * 3 + 1);
        viewer.cut().await;
        say(&mut viewer, round * 3 + 2);
        let verdict = viewer.reattach(page.path().await, u64::from(round) + 2, &page.key).await;
        assert_eq!(verdict, Ok(Verdict::Resumed), "round {round}");
    }
    let rest = FLOOD - found.len();
    found.extend(viewer.read(rest).await);
    assert!(found == flood_bytes(0, FLOOD), "what came is what the display sent");
    wait_for("the last word", || (page.display.heard().len() >= said.len()).then_some(())).await;
    assert_eq!(page.display.heard(), said);
    assert_eq!(page.display.opened(), 1, "one handshake");
    page.bench.end().await;
}

#[tokio::test]
async fn a_held_key_is_released_at_once_when_the_path_breaks_and_the_display_stays() {
    let page = Page::new(0).await;
    let mut viewer = page.viewer().await;
    viewer.send(Channel::Display, &key_event(true)).await;
    wait_for("the key", || (page.display.heard() == key_event(true)).then_some(())).await;
    viewer.cut().await;
    let released = [key_event(true), key_event(false)].concat();
    wait_for("its release", || (page.display.heard() == released).then_some(())).await;
    assert_eq!(page.display.open(), 1);
    assert_eq!(viewer.reattach(page.path().await, 2, &page.key).await, Ok(Verdict::Resumed));
    viewer.send(Channel::Display, &pointer_event(9)).await;
    wait_for("the pointer", || page.display.heard().ends_with(&pointer_event(9)).then_some(())).await;
    page.bench.end().await;
}

#[tokio::test]
async fn a_held_key_is_released_when_nothing_is_heard_and_the_path_stays() {
    let page = Page::new(0).await;
    let mut viewer = page.viewer().await;
    viewer.send(Channel::Display, &key_event(true)).await;
    // Reads nothing, so it answers no PING.
    let released = [key_event(true), key_event(false)].concat();
    wait_for("its release", || (page.display.heard() == released).then_some(())).await;
    viewer.send_frame(Frame::Ping { token: 3 }).await;
    while viewer.hear().await != Heard::Frame(Frame::Pong { token: 3 }) {}
    page.bench.end().await;
}

#[tokio::test]
async fn a_path_that_lives_is_taken_over_with_its_keys_held_and_told_so() {
    let page = Page::new(500_000).await;
    let mut viewer = page.viewer().await;
    let mut found = viewer.read(1000).await;
    viewer.send(Channel::Display, &key_event(true)).await;
    wait_for("the key", || (page.display.heard() == key_event(true)).then_some(())).await;
    let mut old = std::mem::replace(&mut viewer.socket, page.path().await);
    assert_eq!(viewer.introduce(2, Some(&page.key)).await, Ok(Verdict::Resumed));
    assert_eq!(last_notice(&mut old).await, Some(Code::Superseded));
    found.extend(viewer.read(499_000).await);
    assert!(found == flood_bytes(0, 500_000));
    assert_eq!(page.display.heard(), key_event(true), "still held");
    page.bench.end().await;
}

#[tokio::test]
async fn a_stream_that_was_waited_for_long_enough_restarts() {
    let bench = Bench::with_settings(|settings| settings.resume_window_s = 1).await;
    let page = Page::on(bench, 0).await;
    let mut viewer = page.parked().await;
    page.await_display(0).await;
    assert_eq!(viewer.reattach(page.path().await, 2, &page.key).await, Ok(Verdict::Restarted));
    viewer.shake_hands().await;
    assert_eq!(page.display.opened(), 2);
    page.bench.end().await;
}

#[tokio::test]
async fn an_attach_whose_number_does_not_rise_is_refused_live_or_parked() {
    let page = Page::new(0).await;
    let mut viewer = page.viewer().await;
    let late = Viewer::attach(page.path().await, 1, Some(&page.key)).await;
    assert_eq!(late.err(), Some(Code::Superseded));
    viewer.cut().await;
    page.await_parked().await;
    let late = Viewer::attach(page.path().await, 1, Some(&page.key)).await;
    assert_eq!(late.err(), Some(Code::Superseded));
    assert_eq!(viewer.reattach(page.path().await, 2, &page.key).await, Ok(Verdict::Resumed));
    page.bench.end().await;
}

#[tokio::test]
async fn another_key_takes_no_stream_that_waits() {
    let page = Page::new(0).await;
    let mut viewer = page.parked().await;
    let other = PageKey::new();
    let forged = Viewer::attach(page.path().await, 9, Some(&other)).await;
    assert_eq!(forged.err(), Some(Code::Key), "a relay that saw the grant");
    let grant = page.granted(|grant| grant.jkt = other.thumbprint());
    let bound = Viewer::attach(page.bench.open(&grant).await.unwrap(), 9, Some(&other)).await;
    assert_eq!(bound.err(), Some(Code::Key), "a grant for another key");
    let grant = page.granted(|grant| grant.jkt = None);
    let unbound = Viewer::attach(page.bench.open(&grant).await.unwrap(), 9, None).await;
    assert_eq!(unbound.err(), Some(Code::Key), "a grant for none");
    assert_eq!(viewer.reattach(page.path().await, 2, &page.key).await, Ok(Verdict::Resumed));
    page.bench.end().await;
}

#[tokio::test]
async fn a_session_that_ends_takes_the_stream_that_waits_with_it() {
    let page = Page::new(0).await;
    let _viewer = page.parked().await;
    page.bench.finish(page.session, 2);
    page.await_display(0).await;
    let (status, _) = page.bench.open(&page.granted(|_| {})).await.unwrap_err();
    assert!([409, 410].contains(&status), "{status}");
    page.bench.end().await;
}

#[tokio::test]
async fn a_revocation_cuts_a_stream_that_waits_unless_its_grant_is_younger() {
    let page = Page::new(0).await;
    let mut viewer = page.parked().await;
    let cut = |seconds| Revocation {
        session_id: page.session,
        issued_before: Timestamp::from_second(page.grant.iat + seconds).unwrap(),
        because: None,
    };
    page.bench.control.revoke(cut(0));
    let later = page.granted(|grant| grant.iat += 2);
    let socket = page.bench.open(&later).await.unwrap();
    assert_eq!(viewer.reattach(socket, 2, &page.key).await, Ok(Verdict::Resumed));
    page.bench.control.revoke(cut(1));
    viewer.send(Channel::Display, &pointer_event(1)).await;
    wait_for("the pointer", || (page.display.heard() == pointer_event(1)).then_some(())).await;
    viewer.cut().await;
    page.await_parked().await;
    assert_eq!(page.display.open(), 1, "the younger grant is the stream's");
    page.bench.control.revoke(cut(3));
    page.await_display(0).await;
    page.bench.end().await;
}

#[tokio::test]
async fn an_agent_that_stops_waits_for_nobody() {
    let page = Page::new(0).await;
    let _viewer = page.parked().await;
    page.bench.stop_agent().await;
    page.await_display(0).await;
    page.bench.end().await;
}

#[tokio::test]
async fn a_stream_without_a_key_ends_with_its_path() {
    let page = Page::new(0).await;
    let grant = page.granted(|grant| grant.jkt = None);
    let (mut viewer, _) = Viewer::attach(page.bench.open(&grant).await.unwrap(), 1, None).await.unwrap();
    viewer.shake_hands().await;
    viewer.cut().await;
    page.await_display(0).await;
    page.bench.end().await;
}

#[tokio::test]
async fn a_display_is_not_read_while_nobody_is_there() {
    const FLOOD: usize = 16_000_000;
    let page = Page::new(FLOOD).await;
    let mut viewer = page.viewer().await;
    let mut found = viewer.read(100_000).await;
    viewer.cut().await;
    page.await_parked().await;
    let before = page.settled().await;
    for _ in 0..3 {
        page.stir().await;
    }
    assert_eq!(page.display.flooded(), before);
    // The window, one read, and what the sockets of this machine hold.
    assert!(before < 100_000 + (1 << 20) + 2_000_000, "{before}");
    assert_eq!(viewer.reattach(page.path().await, 2, &page.key).await, Ok(Verdict::Resumed));
    found.extend(viewer.read(FLOOD - 100_000).await);
    assert!(found == flood_bytes(0, FLOOD));
    page.bench.end().await;
}

#[tokio::test]
async fn the_latest_text_that_was_copied_meanwhile_comes_with_the_next_path() {
    let page = Page::new(0).await;
    let mut viewer = page.parked().await;
    for text in ["first", "the second", "and the third"] {
        page.bench.daemon.copy(page.session, text);
        page.await_kept(record(text).len()).await;
    }
    assert_eq!(viewer.reattach(page.path().await, 2, &page.key).await, Ok(Verdict::Resumed));
    assert_eq!(viewer.hear().await, Heard::Record(Channel::Clipboard, record("and the third")));
    viewer.send(Channel::Clipboard, br#"{"type":"text","text":"back"}"#).await;
    wait_for("the text", || (page.bench.daemon.texts(page.session) == ["back"]).then_some(())).await;
    page.bench.end().await;
}

#[tokio::test]
async fn the_policy_of_the_later_grant_counts() {
    let page = Page::new(0).await;
    let mut viewer = page.parked().await;
    let policy = Policy { input: false, clipboard_in: false, clipboard_out: false, resize: false };
    let socket = page.bench.open(&page.granted(|grant| grant.policy = policy)).await.unwrap();
    assert_eq!(viewer.reattach(socket, 2, &page.key).await, Ok(Verdict::Resumed));
    viewer.send(Channel::Display, &key_event(true)).await;
    viewer.send(Channel::Clipboard, br#"{"type":"text","text":"x"}"#).await;
    assert_eq!(viewer.noticed().await, Code::ClipboardRefused);
    assert!(page.display.heard().is_empty());
    page.bench.end().await;
}

#[tokio::test]
async fn of_a_viewer_that_leaves_nothing_waits_and_its_keys_are_released() {
    let page = Page::new(10_000).await;
    let mut viewer = page.viewer().await;
    viewer.read(1000).await;
    viewer.send(Channel::Display, &key_event(true)).await;
    wait_for("the key", || (page.display.heard() == key_event(true)).then_some(())).await;
    viewer.send_frame(Frame::Leave).await;
    page.await_display(0).await;
    assert_eq!(page.display.heard(), [key_event(true), key_event(false)].concat());
    viewer.closed().await;
    // Were it to come after all, it would begin anew.
    assert_eq!(viewer.reattach(page.path().await, 2, &page.key).await, Ok(Verdict::Restarted));
    page.bench.end().await;
}

#[tokio::test]
async fn a_leave_on_a_path_that_was_left_for_another_ends_nothing() {
    let page = Page::new(0).await;
    let mut viewer = page.viewer().await;
    let mut old = std::mem::replace(&mut viewer.socket, page.path().await);
    assert_eq!(viewer.introduce(2, Some(&page.key)).await, Ok(Verdict::Resumed));
    // The agent may have closed it already.
    let _ = old.send(Message::Binary(Frame::Leave.encode())).await;
    assert_eq!(last_notice(&mut old).await, Some(Code::Superseded));
    viewer.send(Channel::Display, &pointer_event(1)).await;
    wait_for("the pointer", || (page.display.heard() == pointer_event(1)).then_some(())).await;
    assert_eq!(page.display.opened(), 1);
    page.bench.end().await;
}

#[tokio::test]
async fn a_display_that_closed_meanwhile_is_opened_anew() {
    let page = Page::new(0).await;
    let mut viewer = page.parked().await;
    page.display.hang_up();
    page.await_display(0).await;
    assert_eq!(viewer.reattach(page.path().await, 2, &page.key).await, Ok(Verdict::Restarted));
    viewer.shake_hands().await;
    page.bench.end().await;
}

#[tokio::test]
async fn a_viewer_that_broke_the_rules_does_not_resume() {
    let page = Page::new(0).await;
    let mut viewer = page.viewer().await;
    viewer.send_frame(Frame::Ack { received: 1 << 40 }).await;
    assert_eq!(viewer.noticed().await, Code::Protocol);
    page.await_display(0).await;
    assert_eq!(viewer.reattach(page.path().await, 2, &page.key).await, Ok(Verdict::Restarted));
    page.bench.end().await;
}

#[tokio::test]
async fn streams_that_wait_do_not_lock_their_own_viewers_out() {
    let bench = Bench::with_settings(|settings| settings.max_streams = 1).await;
    let page = Page::on(bench, 0).await;
    let mut viewer = page.parked().await;
    let stranger = page.bench.grant(page.session, Transport::Binary);
    let (status, _) = page.bench.open(&stranger).await.unwrap_err();
    assert_eq!(status, 503, "the place is kept");
    assert_eq!(viewer.reattach(page.path().await, 2, &page.key).await, Ok(Verdict::Resumed));
    page.bench.end().await;
}

#[tokio::test]
async fn of_many_pages_that_were_left_the_latest_few_wait() {
    let page = Page::new(0).await;
    for _ in 0..6 {
        let key = PageKey::new();
        let grant = Grant { jkt: key.thumbprint(), ..page.bench.grant(page.session, Transport::MeridianV1) };
        let (mut viewer, _) =
            Viewer::attach(page.bench.open(&grant).await.unwrap(), 1, Some(&key)).await.unwrap();
        viewer.shake_hands().await;
        viewer.cut().await;
        page.await_parked().await;
    }
    page.await_display(4).await;
    page.bench.end().await;
}

#[tokio::test]
async fn a_pass_brings_the_viewer_back_as_often_as_paths_break_while_the_control_plane_is_away() {
    let mut page = Page::new(0).await;
    let mut viewer = page.viewer().await;
    page.bench.control.cut(true);
    let pass = page.bench.pass(&page.grant);
    for round in 2..5 {
        viewer.cut().await;
        let path = page.bench.open_with_pass(&pass).await.unwrap();
        assert_eq!(viewer.reattach(path, round, &page.key).await, Ok(Verdict::Resumed), "round {round}");
    }
    // Whoever has seen the pass has not the key.
    let stranger = page.bench.open_with_pass(&pass).await.unwrap();
    assert_eq!(Viewer::attach(stranger, 9, Some(&PageKey::new())).await.err(), Some(Code::Key));
    // The agent's own restart forgets the bytes, not the right to come back.
    page.bench.control.cut(false);
    page.bench.restart().await;
    page.bench.control.cut(true);
    let path = page.bench.open_with_pass(&pass).await.unwrap();
    assert_eq!(viewer.reattach(path, 5, &page.key).await, Ok(Verdict::Restarted));
    page.bench.end().await;
}

#[tokio::test]
async fn while_the_control_plane_is_away_passes_are_good_for_the_zones_grace_and_no_longer() {
    let clock = Clock::fixed(Clock::system().now());
    let bench = Bench::with_agent_clock(clock.clone()).await;
    bench.control.set_outage_grace(1800);
    let mut page = Page::on(bench, 0).await;
    let pass = page.bench.pass(&page.grant);
    page.bench.control.cut(true);
    // Started again in the outage, the agent hears nothing more, and knows its zone and its last contact from its disk.
    page.bench.restart().await;
    clock.advance(SignedDuration::from_secs(1700));
    assert!(page.bench.open_with_pass(&pass).await.is_ok());
    clock.advance(SignedDuration::from_secs(200));
    let (status, refusal) = page.bench.open_with_pass(&pass).await.unwrap_err();
    assert_eq!((status, refusal.error.code.as_str()), (503, "outage_grace_over"));
    page.bench.end().await;
}

#[tokio::test]
async fn a_pass_is_for_its_own_agent_session_and_time_and_ends_with_a_revocation() {
    let page = Page::new(0).await;
    let pass = || page.bench.pass(&page.grant);
    let refused = async |pass: Pass| {
        let (status, refusal) = page.bench.open_with_pass(&pass).await.unwrap_err();
        (status, refusal.error.code)
    };
    let foreign = Pass { agent: NodeId::generate(), ..pass() };
    assert_eq!(refused(foreign).await, (403, "grant_refused".into()));
    let elsewhere = Pass { aud: resume_audience(ZoneId::generate()), ..pass() };
    assert_eq!(refused(elsewhere).await, (403, "grant_refused".into()));
    let over = Pass { exp: page.grant.iat - 60, ..pass() };
    assert_eq!(refused(over).await, (403, "grant_refused".into()));
    let older = Pass { generation: 0, ..pass() };
    assert_eq!(refused(older).await, (409, "stale_generation".into()));
    let mut viewer = page.viewer().await;
    let issued_before = Timestamp::from_second(page.grant.iat + 1).unwrap();
    page.bench.control.revoke(Revocation { session_id: page.session, issued_before, because: None });
    assert_eq!(viewer.noticed().await, Code::Revoked);
    assert_eq!(refused(pass()).await, (403, "revoked".into()));
    page.bench.end().await;
}

#[tokio::test]
async fn viewers_of_a_relay_that_stops_are_told_to_move_and_lose_nothing() {
    let page = Page::new(0).await;
    let mut viewer = page.viewer().await;
    page.bench.say_goodbye().await;
    assert_eq!(viewer.noticed().await, Code::Draining);
    viewer.cut().await;
    assert_eq!(viewer.reattach(page.path().await, 2, &page.key).await, Ok(Verdict::Resumed));
    page.bench.end().await;
}
