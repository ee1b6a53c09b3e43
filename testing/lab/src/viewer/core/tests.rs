use meridian_ids::{StreamId, Uuid};

use super::*;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What is sent on a path; other effects are passed over.
fn sent(core: &mut Core, path: PathId) -> Vec<Frame> {
    let effects = core.take();
    let mut frames = Vec::new();
    for effect in effects {
        if let Effect::Send(id, message) = effect
            && id == path
        {
            frames.push(Frame::decode(message).unwrap());
        }
    }
    frames
}

/// Opens a path and attaches over it; what ATTACH said.
fn attach(core: &mut Core, verdict: Verdict, received: u64, now: Duration) -> (PathId, u64, u64) {
    let path = core.path_opened(now);
    let challenge = Frame::Challenge { nonce: [7; 32], stream: StreamId(Uuid::nil()) };
    core.receive(path, challenge.encode(), now);
    let said = sent(core, path);
    let [Frame::Attach(attach)] = &said[..] else { panic!("{said:?}") };
    assert!(attach.key.is_some());
    core.receive(path, Frame::Attached { verdict, received, window: 1 << 20 }.encode(), now);
    (path, attach.number, attach.received)
}

fn display(offset: u64, bytes: &[u8]) -> Bytes {
    let header = record_header(Channel::Display, bytes.len()).unwrap();
    Frame::Data { offset, bytes: [&header[..], bytes].concat().into() }.encode()
}

fn lost(core: &mut Core) -> bool {
    core.take().iter().any(|effect| matches!(effect, Effect::Lost(_)))
}

#[test]
fn a_stream_goes_on_where_it_was_over_another_path() {
    let mut core = Core::new(StreamKey::generate().unwrap());
    let (first, number, _) = attach(&mut core, Verdict::New, 0, ms(0));
    assert_eq!(number, 1);
    core.take();
    core.send_display(b"abc");
    core.receive(first, display(0, b"picture"), ms(5));
    core.path_closed(first);
    core.take();
    core.send_display(b"d");
    // The agent has the first record's header and one byte of it.
    let (second, number, received) = attach(&mut core, Verdict::Resumed, 6, ms(10));
    assert_eq!((number, received), (2, 12));
    let Some(Frame::Data { offset: 6, bytes }) = sent(&mut core, second).pop() else { panic!("nothing") };
    assert_eq!(&bytes[..], [b'b', b'c', 1, 0, 0, 0, 1, b'd']);
    // What it has already is passed over.
    core.receive(second, display(0, b"picture"), ms(12));
    assert!(core.take().is_empty());
}

#[test]
fn counts_that_do_not_fit_lose_the_stream() {
    let mut core = Core::new(StreamKey::generate().unwrap());
    let (path, ..) = attach(&mut core, Verdict::New, 0, ms(0));
    core.receive(path, display(1, b"gap"), ms(1));
    assert!(lost(&mut core));
    core.receive(path, Frame::Ack { received: 1 }.encode(), ms(1));
    assert!(lost(&mut core));
    attach(&mut core, Verdict::Resumed, 9, ms(2));
    assert!(lost(&mut core));
}

#[test]
fn a_silent_path_is_suspect_within_two_seconds_and_a_talking_one_is_not() {
    let mut core = Core::new(StreamKey::generate().unwrap());
    let (path, ..) = attach(&mut core, Verdict::New, 0, ms(0));
    core.tick(ms(0));
    assert!(matches!(sent(&mut core, path)[..], [Frame::Ping { .. }]));
    for now in (100..1800).step_by(100) {
        core.tick(ms(now));
    }
    assert!(core.take().is_empty());
    core.tick(ms(1800));
    assert!(matches!(core.take()[..], [Effect::Suspect]));

    core.receive(path, Frame::Ping { token: 1 }.encode(), ms(1900));
    assert_eq!(sent(&mut core, path), [Frame::Pong { token: 1 }]);
    core.tick(ms(2500));
    assert!(core.take().is_empty());
}

#[test]
fn a_slow_path_is_given_more_patience_until_answers_are_quick_again() {
    let mut core = Core::new(StreamKey::generate().unwrap());
    let path = core.path_opened(ms(0));
    let challenge = Frame::Challenge { nonce: [7; 32], stream: StreamId(Uuid::nil()) };
    core.receive(path, challenge.encode(), ms(0));
    core.receive(
        path,
        Frame::Attached { verdict: Verdict::New, received: 0, window: 1 << 20 }.encode(),
        ms(1_500),
    );
    core.take();
    let mut now = ms(1_500);
    core.tick(now);
    let due = |core: &Core, now: Duration| core.suspect_due().map(|due| due - now);
    assert_eq!(due(&core, now), Some(ms(4_500)));
    for _ in 0..10 {
        for frame in sent(&mut core, path) {
            if let Frame::Ping { token } = frame {
                core.receive(path, Frame::Pong { token }.encode(), now + ms(10));
            }
        }
        now += ms(1_000);
        core.tick(now);
    }
    assert_eq!(due(&core, now), Some(ms(810)));
}

#[test]
fn a_viewer_that_goes_says_so_wherever_the_agent_may_hold_the_stream() {
    let mut core = Core::new(StreamKey::generate().unwrap());
    let (attached, ..) = attach(&mut core, Verdict::New, 0, ms(0));
    let unchallenged = core.path_opened(ms(1));
    core.take();
    core.leave();
    let told: Vec<_> = core
        .take()
        .into_iter()
        .map(|effect| {
            matches!(effect, Effect::Send(path, message)
        if path == attached && Frame::decode(message.clone()).unwrap() == Frame::Leave)
        })
        .collect();
    assert_eq!(told, [true]);
    assert!(!core.attached() && unchallenged != attached);
}
