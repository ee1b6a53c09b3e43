//! Attaches, and what an attached viewer may say, from the agent's side.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use bytes::Bytes;
use meridian_ids::StreamId;
use meridian_stream::{
    AgentStream, Attach, AttachError, Challenge, Code, Frame, ProtocolError, Received, Verdict, ViewerKey,
    attach_text,
};
use proptest::prelude::*;

const NOW: Duration = Duration::ZERO;
const NONCE: [u8; 32] = [7; 32];

fn stream() -> AgentStream {
    AgentStream::new(100_000, 1 << 20, None, NOW)
}

/// An attach as its path's challenge hands it on.
fn judged(number: u64, received: u64) -> Attach {
    Attach { number, received, key: Some(ViewerKey { point: [4; 65], signature: [5; 64] }) }
}

fn attached() -> AgentStream {
    let mut stream = stream();
    assert_eq!(stream.attach(&judged(1, 0), true, NOW), Ok(Verdict::New));
    stream
}

/// An attached stream that has sent `length` bytes to a viewer that speaks.
fn sent(length: usize) -> AgentStream {
    let mut stream = attached();
    stream.receive(Frame::Ping { token: 1 }, NOW).unwrap();
    stream.write(&vec![7; length]);
    while stream.next_message(NOW).is_some() {}
    stream
}

fn data(offset: u64, bytes: &[u8]) -> Frame {
    Frame::Data { offset, bytes: Bytes::copy_from_slice(bytes) }
}

struct Viewer {
    key: EcdsaKeyPair,
    point: [u8; 65],
}

impl Viewer {
    fn new() -> Self {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
        let point = key.public_key().as_ref().try_into().unwrap();
        Self { key, point }
    }

    fn jkt(&self) -> Option<String> {
        meridian_ticket::p256_thumbprint(&self.point)
    }

    fn attach(&self, stream: StreamId, number: u64) -> Frame {
        let text = attach_text(&NONCE, stream, number, 0);
        let signature = self.key.sign(&SystemRandom::new(), &text).unwrap().as_ref().try_into().unwrap();
        let key = Some(ViewerKey { point: self.point, signature });
        Frame::Attach(Attach { number, received: 0, key })
    }
}

#[test]
fn an_attach_with_the_grants_key_is_the_viewers_own() {
    let (viewer, id) = (Viewer::new(), StreamId::generate());
    let challenge = Challenge::new(NONCE, id, viewer.jkt());
    assert_eq!(challenge.frame(), Frame::Challenge { nonce: NONCE, stream: id });
    assert_eq!(challenge.judge(viewer.attach(id, 3)).map(|attach| attach.number), Ok(3));
}

#[test]
fn another_key_another_signature_no_key_or_an_unasked_one_is_refused() {
    let (viewer, other, id) = (Viewer::new(), Viewer::new(), StreamId::generate());
    let judge = |jkt: Option<String>, frame: Frame| Challenge::new(NONCE, id, jkt).judge(frame);
    let plain = |number| Frame::Attach(Attach { number, received: 0, key: None });
    let key = Err(AttachError::Key);
    assert_eq!(judge(viewer.jkt(), other.attach(id, 1)), key);
    assert_eq!(judge(viewer.jkt(), viewer.attach(StreamId::generate(), 1)), key);
    assert_eq!(judge(viewer.jkt(), plain(1)), key);
    assert_eq!(judge(None, viewer.attach(id, 1)), key);
    assert_eq!(AttachError::Key.code(), Code::Key);
    // Signed for one number and count, sent with others.
    let Frame::Attach(attach) = viewer.attach(id, 1) else { panic!("no attach") };
    assert_eq!(judge(viewer.jkt(), Frame::Attach(Attach { number: 2, ..attach.clone() })), key);
    assert_eq!(judge(viewer.jkt(), Frame::Attach(Attach { received: 1, ..attach })), key);
    assert_eq!(judge(None, plain(0)), Err(AttachError::Number));
    assert_eq!(judge(None, Frame::Ping { token: 1 }), Err(AttachError::NotAttach));
}

#[test]
fn an_attach_number_that_does_not_rise_is_superseded_and_changes_nothing() {
    let mut stream = sent(1000);
    for number in [0, 1] {
        assert_eq!(stream.attach(&judged(number, 10), true, NOW), Err(AttachError::Superseded));
    }
    assert_eq!((stream.window().in_flight(), stream.kept()), (1000, 1000));
    let mut forgotten = AgentStream::new(100_000, 1 << 20, Some(5), NOW);
    assert_eq!(forgotten.attach(&judged(5, 0), true, NOW), Err(AttachError::Superseded));
    assert_eq!(forgotten.attach(&judged(6, 0), true, NOW), Ok(Verdict::Restarted));
}

#[test]
fn a_viewer_that_has_bytes_of_a_stream_that_is_not_known_starts_over() {
    assert_eq!(stream().attach(&judged(4, 17), true, NOW), Ok(Verdict::Restarted));
    assert_eq!(stream().attach(&judged(4, 0), true, NOW), Ok(Verdict::New));
}

#[test]
fn a_later_attach_is_sent_what_it_lacks() {
    let mut stream = sent(1000);
    stream.receive(Frame::Ack { received: 400 }, NOW).unwrap();
    stream.receive(data(0, b"abc"), NOW).unwrap();
    assert_eq!(stream.attach(&judged(2, 600), true, NOW), Ok(Verdict::Resumed));
    let answer = Frame::Attached { verdict: Verdict::Resumed, received: 3, window: 100_000 };
    assert_eq!(stream.attached(Verdict::Resumed), answer);
    assert_eq!((stream.unsent(), stream.kept()), (400, 400));
    assert_eq!(stream.next_message(NOW), Some(data(600, &[7; 400]).encode()));
    assert_eq!(stream.ack(), None, "ATTACHED said it");
}

#[test]
fn a_count_that_was_overtaken_by_an_acknowledgement_resumes_where_that_was() {
    let mut stream = sent(1000);
    stream.receive(Frame::Ack { received: 400 }, NOW).unwrap();
    assert_eq!(stream.attach(&judged(2, 100), true, NOW), Ok(Verdict::Resumed));
    assert_eq!(stream.next_message(NOW), Some(data(400, &[7; 600]).encode()));
}

#[test]
fn a_count_of_what_was_never_sent_or_of_nothing_where_much_is_gone_restarts() {
    for (received, verdict) in [(1001, Verdict::Restarted), (0, Verdict::Restarted), (1000, Verdict::Resumed)]
    {
        let mut stream = sent(1000);
        stream.receive(Frame::Ack { received: 400 }, NOW).unwrap();
        assert_eq!(stream.attach(&judged(2, received), true, NOW), Ok(verdict), "{received}");
    }
}

#[test]
fn nothing_resumes_without_a_key_or_where_its_meaning_is_lost() {
    let keyless = Attach { key: None, ..judged(2, 500) };
    for (attach, may_resume) in [(keyless, true), (judged(2, 500), false)] {
        let mut stream = sent(1000);
        stream.receive(data(0, b"abc"), NOW).unwrap();
        assert_eq!(stream.attach(&attach, may_resume, NOW), Ok(Verdict::Restarted));
        assert_eq!((stream.kept(), stream.unsent()), (0, 0));
        assert_eq!(stream.receive(data(0, b"x"), NOW), Ok(Received::Data("x".into())));
    }
}

#[test]
fn a_viewer_that_may_not_have_heard_of_a_restart_restarts_again() {
    let mut stream = sent(1000);
    assert_eq!(stream.attach(&judged(2, 5000), true, NOW), Ok(Verdict::Restarted));
    stream.write(&[8; 9000]);
    while stream.next_message(NOW).is_some() {}
    // Had the answer arrived, the viewer would count anew.
    assert_eq!(stream.attach(&judged(3, 5000), true, NOW), Ok(Verdict::Restarted));
    stream.write(&[9; 9000]);
    while stream.next_message(NOW).is_some() {}
    stream.receive(Frame::Pong { token: 1 }, NOW).unwrap();
    assert_eq!(stream.attach(&judged(4, 5000), true, NOW), Ok(Verdict::Resumed));
}

#[test]
fn after_a_resume_no_more_than_the_floor_is_in_flight_until_the_path_shows_more() {
    let mut stream = sent(0);
    for round in 1..40_u64 {
        // 64 KiB each 10 ms: a fast path.
        stream.write(&[1; 65_536]);
        while stream.next_message(Duration::from_millis(round * 100)).is_some() {}
        let received = stream.window().sent();
        let now = Duration::from_millis(round * 100 + 10);
        stream.receive(Frame::Ack { received }, now).unwrap();
    }
    let now = Duration::from_secs(5);
    stream.write(&[1; 1 << 20]);
    while stream.next_message(now).is_some() {}
    let received = stream.window().acked();
    assert!(stream.window().in_flight() > 100_000);
    assert_eq!(stream.attach(&judged(2, received), true, now), Ok(Verdict::Resumed));
    while stream.next_message(now).is_some() {}
    assert_eq!(stream.window().in_flight(), 65_536);
}

#[test]
fn old_data_is_ignored_an_overlap_is_cut_and_a_gap_is_an_error() {
    let mut stream = attached();
    assert_eq!(stream.receive(data(0, b"abc"), NOW), Ok(Received::Data("abc".into())));
    assert_eq!(stream.receive(data(0, b"abc"), NOW), Ok(Received::Nothing));
    assert_eq!(stream.receive(data(1, b"bcde"), NOW), Ok(Received::Data("de".into())));
    assert_eq!(stream.receive(data(6, b"g"), NOW), Err(ProtocolError::Gap { offset: 6, expected: 5 }));
    assert_eq!(stream.ack(), Some(Frame::Ack { received: 5 }));
    assert_eq!(stream.ack(), None);
}

#[test]
fn data_beyond_the_window_is_an_error_and_acknowledgements_make_room() {
    let mut stream = attached();
    let piece = vec![0; 50_000];
    assert!(stream.receive(data(0, &piece), NOW).is_ok());
    assert!(stream.ack_due());
    assert!(stream.receive(data(50_000, &piece), NOW).is_ok());
    assert_eq!(stream.receive(data(100_000, b"x"), NOW), Err(ProtocolError::Window));
    stream.ack();
    assert!(stream.receive(data(100_000, b"x"), NOW).is_ok());
}

#[test]
fn an_acknowledgement_beyond_what_was_sent_is_an_error() {
    let mut stream = attached();
    stream.write(b"hello");
    assert_eq!(stream.next_message(NOW), Some(data(0, b"hello").encode()));
    assert_eq!(stream.next_message(NOW), None);
    assert_eq!(stream.receive(Frame::Ack { received: 6 }, NOW), Err(ProtocolError::AckBeyondSent));
    assert_eq!(stream.receive(Frame::Ack { received: 5 }, NOW), Ok(Received::Acked));
    assert_eq!((stream.window().in_flight(), stream.kept()), (0, 0));
    assert_eq!(stream.receive(Frame::Ack { received: 3 }, NOW), Ok(Received::Acked), "an old one");
}

#[test]
fn frames_that_only_agents_send_are_errors() {
    let mut stream = attached();
    let frames = [
        Frame::Attach(judged(2, 0)),
        Frame::Challenge { nonce: NONCE, stream: StreamId::generate() },
        Frame::Notice { code: Code::Ended, message: String::new() },
    ];
    for frame in frames {
        assert_eq!(stream.receive(frame, NOW), Err(ProtocolError::Unexpected));
    }
    assert_eq!(stream.receive(Frame::Ping { token: 9 }, NOW), Ok(Received::Ping(9)));
}

proptest! {
    #[test]
    fn whatever_is_sent_again_the_counted_stream_comes_out_once_and_whole(
        pieces in proptest::collection::vec((0_usize..400, 1_usize..80), 1..100),
    ) {
        let source: Vec<u8> = (0..500_u32).map(|at| at as u8).collect();
        let (mut stream, mut found) = (attached(), Vec::new());
        for (offset, length) in pieces {
            let end = (offset + length).min(source.len());
            match stream.receive(data(offset as u64, &source[offset..end]), NOW) {
                Ok(Received::Data(bytes)) => found.extend_from_slice(&bytes),
                Ok(_) => {}
                Err(ProtocolError::Gap { .. }) => prop_assert!(offset > found.len()),
                Err(other) => panic!("{other}"),
            }
        }
        prop_assert_eq!(&found[..], &source[..found.len()]);
    }
}
