//! Viewers, relays and workspaces that do what none should: nobody else's stream suffers, and nothing grows.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[expect(dead_code, reason = "the agent's other tests use the rest")]
mod bench;

use bench::{
    page::Page,
    stand_in::flood_bytes,
    viewer::{Heard, Viewer, last_notice},
    wait_for,
};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use meridian_model::Transport;
use meridian_stream::{Channel, Code, Frame, MAX_MESSAGE_BYTES, Verdict};
use tokio_tungstenite::tungstenite::Message;

/// As the bench configures its agents.
const WINDOW: usize = 1 << 20;
/// One read of a display, and the heads of records.
const ONE_RECORD: usize = 17 << 10;

/// Slowness is no offence: a viewer that is refused for it would give its desktop up for good.
#[tokio::test]
async fn a_path_without_an_attach_is_closed_and_not_refused() {
    let page = Page::new(100_000).await;
    let mut path = page.path().await;
    while let Some(Ok(heard)) = path.next().await {
        if let Message::Binary(bytes) = heard {
            let frame = Frame::decode(bytes).unwrap();
            assert!(matches!(frame, Frame::Challenge { .. }), "{frame:?}");
        }
    }
    let (_, verdict) = Viewer::attach(page.path().await, 1, Some(&page.key)).await.unwrap();
    assert_eq!(verdict, Verdict::New);
    page.bench.end().await;
}

#[tokio::test]
async fn whatever_comes_in_place_of_an_attach_takes_nothing_from_a_stream_that_waits() {
    let page = Page::new(100_000).await;
    let mut viewer = page.viewer().await;
    let mut found = viewer.read(1000).await;
    // What a relay on the way saw, to be said again on another path.
    let said = viewer.said_to_attach.clone();
    viewer.cut().await;
    page.await_parked().await;
    let mut corrupt = said.to_vec();
    corrupt[30] ^= 1;
    let messages = [
        ("said before", Message::Binary(said.clone())),
        ("corrupt", Message::Binary(corrupt.into())),
        ("cut short", Message::Binary(said.slice(..said.len() - 1))),
        ("with a byte too many", Message::Binary([&said[..], &[0]].concat().into())),
        ("oversized", Message::Binary(vec![0x02; MAX_MESSAGE_BYTES + 1].into())),
        ("empty", Message::Binary(Bytes::new())),
        ("no attach", Message::Binary(Frame::Ack { received: 1000 }.encode())),
        ("a leave", Message::Binary(Frame::Leave.encode())),
        ("a text", Message::Text("attach".into())),
    ];
    for (what, message) in messages {
        let mut path = page.path().await;
        // An agent that has seen enough closes at once.
        let _ = path.send(message).await;
        while let Some(Ok(heard)) = path.next().await {
            if let Message::Binary(bytes) = heard {
                let frame = Frame::decode(bytes).unwrap();
                assert!(
                    matches!(frame, Frame::Challenge { .. } | Frame::Refused { .. }),
                    "{what}: {frame:?}"
                );
            }
        }
    }
    assert_eq!(viewer.reattach(page.path().await, 2, &page.key).await, Ok(Verdict::Resumed));
    found.extend(viewer.read(99_000).await);
    assert!(found == flood_bytes(0, 100_000));
    page.bench.end().await;
}

#[tokio::test]
async fn a_viewer_that_reads_nothing_slows_the_workspace_and_makes_nothing_grow() {
    let page = Page::new(16_000_000).await;
    let mut viewer = page.viewer().await;
    let path = viewer.read(100_000).await.len();
    // It listens no more. What it has acknowledged until now let the window grow as far as it may.
    let given = page.settled().await;
    let kept = page.kept().await;
    assert!(kept <= WINDOW + ONE_RECORD, "{kept}");
    // The window, one record, and what the sockets of this machine hold.
    assert!(given < path + WINDOW + ONE_RECORD + 2_000_000, "{given}");
    for _ in 0..3 {
        page.stir().await;
    }
    assert_eq!((page.display.flooded(), page.kept().await), (given, kept));
    page.bench.end().await;
}

#[tokio::test]
async fn a_workspace_that_floods_never_has_more_kept_than_the_window() {
    const FLOOD: usize = 8_000_000;
    let page = Page::new(FLOOD).await;
    let mut viewer = page.viewer().await;
    let (mut found, mut most) = (Vec::new(), 0);
    while found.len() < FLOOD {
        found.extend(viewer.read(200_000.min(FLOOD - found.len())).await);
        most = most.max(page.kept().await);
    }
    assert!(found == flood_bytes(0, FLOOD));
    assert!(most <= WINDOW + ONE_RECORD, "{most}");
    viewer.send_frame(Frame::Leave).await;
    page.await_kept(0).await;
    page.bench.end().await;
}

#[tokio::test]
async fn a_viewer_whose_display_does_not_read_is_held_to_its_window() {
    let page = Page::new(0).await;
    let mut viewer = page.viewer().await;
    page.display.stop_reading();
    // A pointer that never rests: far more than socket and window take.
    let event = [5, 0, 0, 9, 0, 7].repeat(1000);
    let mut written = 0;
    let refused = loop {
        viewer.write(Channel::Display, &event);
        written += event.len();
        if written > 4_000_000 || viewer.push_written().await.is_err() {
            break viewer.noticed().await;
        }
    };
    assert_eq!(refused, Code::Protocol, "data beyond the window");
    page.await_kept(0).await;
    page.bench.end().await;
}

#[tokio::test]
async fn two_viewers_that_fight_over_a_stream_never_hold_it_both() {
    let page = Page::new(0).await;
    let mut holder = page.viewer().await;
    for number in 2..12 {
        // Each begins with nothing, as a copy of the page would.
        let (mut next, verdict) = Viewer::attach(page.path().await, number, Some(&page.key)).await.unwrap();
        assert_ne!(verdict, Verdict::New);
        next.shake_hands().await;
        assert_eq!(last_notice(&mut holder.socket).await, Some(Code::Superseded));
        page.await_display(1).await;
        assert_eq!(page.bench.metric("meridian_agent_streams").await, 1);
        holder = next;
    }
    holder.send_frame(Frame::Ping { token: 3 }).await;
    while holder.hear().await != Heard::Frame(Frame::Pong { token: 3 }) {}
    page.bench.end().await;
}

#[tokio::test]
async fn a_relay_that_replays_a_grant_it_saw_opens_no_path() {
    let page = Page::new(0).await;
    let grant = page.granted(|_| {});
    let (mut viewer, _) =
        Viewer::attach(page.bench.open(&grant).await.unwrap(), 1, Some(&page.key)).await.unwrap();
    viewer.shake_hands().await;
    for parked in [false, true] {
        if parked {
            viewer.cut().await;
            page.await_parked().await;
        }
        let (status, refusal) = page.bench.open(&grant).await.unwrap_err();
        assert_eq!((status, refusal.error.code.as_str()), (403, "grant_refused"));
        let plain = page.granted(|grant| grant.transport = Transport::Binary);
        assert!(page.bench.open_as(&page.bench.proxy_tls, &plain, "not a grant").await.is_err());
    }
    assert_eq!(viewer.reattach(page.path().await, 2, &page.key).await, Ok(Verdict::Resumed));
    wait_for("the stream", || (page.display.opened() == 1).then_some(())).await;
    page.bench.end().await;
}
