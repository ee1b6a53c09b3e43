//! Somebody looks on beside the session's own user: what they see, what they cannot do, and when it is over.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[expect(dead_code, reason = "the agent's other tests use the rest")]
mod bench;

use bench::{
    Bench, LIMIT,
    page::Page,
    stand_in::flood_bytes,
    viewer::{Heard, PageKey, Viewer, key_event, update_request},
    wait_for,
};
use meridian_ids::{GrantId, StreamId, WatchId};
use meridian_model::{Policy, Transport};
use meridian_stream::{Channel, Code, Frame, Verdict};
use meridian_ticket::{Grant, Watch};
use meridian_wire::{WatchEnd, WatchEndCause};
use tokio::time::timeout;

const POINTER: [u8; 6] = [5, 1, 0, 3, 0, 4];

/// Somebody who looks on at a page's session.
struct Onlooker {
    key: PageKey,
    grant: Grant,
    watch: WatchId,
}

impl Onlooker {
    /// The grant says that everything is allowed: the agent must know better.
    fn of(page: &Page) -> Self {
        Self::with(page, WatchId::generate())
    }

    /// In a page of its own, by what was allowed before.
    fn with(page: &Page, watch: WatchId) -> Self {
        let key = PageKey::new();
        let grant = page.granted(|grant| {
            grant.stream = StreamId::generate();
            grant.jkt = key.thumbprint();
            grant.watch = Some(Watch { id: watch, until: grant.iat + 3600 });
            grant.policy = Policy::OWNER;
        });
        Self { key, grant, watch }
    }

    fn granted(&self) -> Grant {
        Grant { jti: GrantId::generate(), ..self.grant.clone() }
    }

    async fn viewer(&self, page: &Page) -> Viewer {
        let socket = page.bench.open(&self.granted()).await.unwrap();
        let (mut viewer, verdict) = Viewer::attach(socket, 1, Some(&self.key)).await.unwrap();
        assert_eq!(verdict, Verdict::New);
        viewer.shake_hands().await;
        viewer
    }

    /// What is said of a path of theirs that is opened now.
    async fn refused(&self, page: &Page) -> (u16, String) {
        let (status, refusal) = page.bench.open(&self.granted()).await.unwrap_err();
        (status, refusal.error.code)
    }
}

/// What the agent says of those who look on.
async fn reported(page: &Page) -> Vec<WatchId> {
    page.bench.heard().await;
    page.bench.heard().await;
    page.bench.control.last_heartbeat().unwrap().agent.unwrap().watches.unwrap()
}

/// Waits until the agent has noticed that one of the two paths is broken, by its own count.
async fn await_one_parked(page: &Page) {
    let waited = async {
        while page.bench.metric("meridian_agent_streams_parked").await == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, waited).await.unwrap();
}

/// Waits until the agent says that it ended this.
async fn told_of(page: &Page, end: WatchEnd) {
    let said = || page.bench.control.last_heartbeat()?.agent.map(|agent| agent.watches_ended);
    wait_for("word of it", || said().filter(|said| *said == [end])).await;
}

/// The next text of the clipboard; empty where an answered PING comes first.
async fn copied(viewer: &mut Viewer) -> String {
    loop {
        match viewer.hear().await {
            Heard::Record(Channel::Clipboard, text) => return text,
            Heard::Frame(Frame::Pong { .. }) => return String::new(),
            Heard::Record(..) | Heard::Display(_) | Heard::Frame(_) => {}
            Heard::Closed => panic!("closed"),
        }
    }
}

#[tokio::test]
async fn whoever_looks_on_sees_the_same_desktop_and_changes_nothing_in_it() {
    let page = Page::new(50_000).await;
    let mut user = page.viewer().await;
    let onlooker = Onlooker::of(&page);
    let mut viewer = onlooker.viewer(&page).await;
    assert!(viewer.read(50_000).await == flood_bytes(0, 50_000));
    viewer.send(Channel::Display, &key_event(true)).await;
    viewer.send(Channel::Display, &POINTER).await;
    viewer.send(Channel::Clipboard, br#"{"type":"text","text":"x"}"#).await;
    assert_eq!(viewer.noticed().await, Code::ClipboardRefused);
    // What may be said comes through, and behind it would come the rest.
    viewer.send(Channel::Display, &update_request()).await;
    wait_for("the request", || (!page.display.heard().is_empty()).then_some(())).await;
    assert_eq!(page.display.heard(), update_request());
    // The user's own stream is neither superseded nor counted with it.
    assert!(user.read(50_000).await == flood_bytes(0, 50_000));
    assert_eq!(page.display.open(), 2);
    assert_eq!(reported(&page).await, [onlooker.watch]);
    wait_for("the count", || (page.bench.control.observed(page.session)?.streams == 1).then_some(())).await;
    page.bench.daemon.copy(page.session, "for the user alone");
    assert_eq!(copied(&mut user).await, r#"{"type":"text","text":"for the user alone"}"#);
    viewer.send_frame(Frame::Ping { token: 1 }).await;
    assert_eq!(copied(&mut viewer).await, "", "nothing that is copied goes to whoever looks on");
    page.bench.end().await;
}

#[tokio::test]
async fn whoever_looks_on_and_reads_nothing_slows_nobody() {
    const FLOOD: usize = 8_000_000;
    let page = Page::new(FLOOD).await;
    let mut user = page.viewer().await;
    let _idle = Onlooker::of(&page).viewer(&page).await;
    assert!(user.read(FLOOD).await == flood_bytes(0, FLOOD));
    page.bench.end().await;
}

#[tokio::test]
async fn whoever_looks_on_comes_back_over_another_path() {
    let page = Page::new(1000).await;
    let _user = page.viewer().await;
    let onlooker = Onlooker::of(&page);
    let mut viewer = onlooker.viewer(&page).await;
    viewer.read(1000).await;
    viewer.cut().await;
    await_one_parked(&page).await;
    let socket = page.bench.open_with_pass(&page.bench.pass(&onlooker.grant)).await.unwrap();
    assert_eq!(viewer.reattach(socket, 2, &onlooker.key).await, Ok(Verdict::Resumed));
    viewer.send(Channel::Display, &key_event(true)).await;
    viewer.send(Channel::Display, &update_request()).await;
    wait_for("the request", || (!page.display.heard().is_empty()).then_some(())).await;
    assert_eq!(page.display.heard(), update_request(), "a pass allows no more than a grant");
    page.bench.end().await;
}

#[tokio::test]
async fn whoever_loads_their_page_again_is_said_to_look_on_until_they_are_back() {
    let page = Page::new(0).await;
    let _user = page.viewer().await;
    let onlooker = Onlooker::of(&page);
    let mut viewer = onlooker.viewer(&page).await;
    viewer.send_frame(Frame::Leave).await;
    page.await_display(1).await;
    assert_eq!(reported(&page).await, [onlooker.watch], "the page that was left is no end of it");
    let again = Onlooker::with(&page, onlooker.watch);
    let _viewer = again.viewer(&page).await;
    page.await_display(2).await;
    assert_eq!(reported(&page).await, [onlooker.watch]);
    page.bench.end().await;
}

#[tokio::test]
async fn it_is_over_at_once_when_it_is_stopped_and_the_user_goes_on() {
    let page = Page::new(0).await;
    let mut user = page.viewer().await;
    let onlooker = Onlooker::of(&page);
    let mut viewer = onlooker.viewer(&page).await;
    page.bench.control.end_watch(onlooker.watch);
    assert_eq!(viewer.noticed().await, Code::Revoked);
    assert_eq!(onlooker.refused(&page).await, (403, "revoked".to_owned()));
    let (_, refusal) = page.bench.open_with_pass(&page.bench.pass(&onlooker.grant)).await.unwrap_err();
    assert_eq!(refusal.error.code, "revoked", "nor does a pass lead back");
    user.send(Channel::Display, &key_event(true)).await;
    wait_for("the key", || (page.display.heard() == key_event(true)).then_some(())).await;
    page.bench.end().await;
}

#[tokio::test]
async fn a_stream_that_waits_for_its_onlooker_is_over_with_the_rest() {
    let page = Page::new(0).await;
    let _user = page.viewer().await;
    let onlooker = Onlooker::of(&page);
    let mut viewer = onlooker.viewer(&page).await;
    viewer.cut().await;
    await_one_parked(&page).await;
    page.bench.control.end_watch(onlooker.watch);
    page.await_display(1).await;
    page.bench.end().await;
}

#[tokio::test]
async fn it_is_over_when_the_person_at_the_desktop_leaves() {
    let bench = Bench::with_settings(|settings| settings.watch_grace_s = 0).await;
    let page = Page::on(bench, 0).await;
    let mut user = page.viewer().await;
    let onlooker = Onlooker::of(&page);
    let mut viewer = onlooker.viewer(&page).await;
    user.send_frame(Frame::Leave).await;
    assert_eq!(viewer.noticed().await, Code::Revoked);
    assert_eq!(onlooker.refused(&page).await, (403, "revoked".to_owned()), "also when they come back");
    told_of(&page, WatchEnd { id: onlooker.watch, because: WatchEndCause::Unattended }).await;
    page.bench.end().await;
}

#[tokio::test]
async fn the_person_at_the_desktop_stops_it_while_the_control_plane_is_away() {
    let page = Page::new(0).await;
    let mut user = page.viewer().await;
    let onlooker = Onlooker::of(&page);
    let mut viewer = onlooker.viewer(&page).await;
    page.bench.control.cut(true);
    viewer.send(Channel::Control, br#"{"type":"stop_watching"}"#).await;
    viewer.send_frame(Frame::Ping { token: 2 }).await;
    assert_eq!(copied(&mut viewer).await, "", "whoever looks on decides about nobody");
    user.send(Channel::Control, br#"{"type":"stop_watching"}"#).await;
    assert_eq!(viewer.noticed().await, Code::Revoked);
    assert_eq!(onlooker.refused(&page).await, (403, "revoked".to_owned()));
    page.bench.control.cut(false);
    told_of(&page, WatchEnd { id: onlooker.watch, because: WatchEndCause::Stopped }).await;
    page.bench.end().await;
}

#[tokio::test]
async fn a_path_of_the_users_that_breaks_for_a_moment_ends_nothing() {
    let page = Page::new(0).await;
    let mut user = page.viewer().await;
    let onlooker = Onlooker::of(&page);
    let mut viewer = onlooker.viewer(&page).await;
    user.cut().await;
    await_one_parked(&page).await;
    assert_eq!(user.reattach(page.path().await, 2, &page.key).await, Ok(Verdict::Resumed));
    viewer.send_frame(Frame::Ping { token: 5 }).await;
    assert_eq!(copied(&mut viewer).await, "", "it goes on");
    page.bench.end().await;
}

#[tokio::test]
async fn it_is_over_when_its_time_is() {
    let page = Page::new(0).await;
    let _user = page.viewer().await;
    let mut onlooker = Onlooker::of(&page);
    onlooker.grant.watch = Some(Watch { id: onlooker.watch, until: page.grant.iat + 3 });
    let mut viewer = onlooker.viewer(&page).await;
    assert_eq!(viewer.noticed().await, Code::Revoked);
    assert_eq!(onlooker.refused(&page).await, (403, "grant_refused".to_owned()));
    page.bench.end().await;
}

#[tokio::test]
async fn who_looks_on_is_bounded_and_takes_no_place_of_the_users() {
    let page = Page::new(0).await;
    let onlookers: Vec<_> = (0..5).map(|_| Onlooker::of(&page)).collect();
    let mut sockets = Vec::new();
    for onlooker in &onlookers[..4] {
        sockets.push(page.bench.open(&onlooker.granted()).await.unwrap());
    }
    assert_eq!(onlookers[4].refused(&page).await, (503, "agent_busy".to_owned()));
    page.viewer().await;
    drop(sockets);
    page.bench.end().await;
}

#[tokio::test]
async fn nobody_looks_on_by_plain_rfb() {
    let page = Page::new(0).await;
    let mut onlooker = Onlooker::of(&page);
    onlooker.grant.transport = Transport::Binary;
    assert_eq!(onlooker.refused(&page).await, (403, "grant_refused".to_owned()));
    page.bench.end().await;
}
