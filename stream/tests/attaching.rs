//! One path of a stream, from the agent's side.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use bytes::Bytes;
use meridian_ids::StreamId;
use meridian_stream::{
    AgentStream, Attach, AttachError, Attachment, Code, Frame, ProtocolError, Received, Verdict, ViewerKey,
    attach_text,
};
use proptest::prelude::*;

const NOW: Duration = Duration::ZERO;
const NONCE: [u8; 32] = [7; 32];

fn stream(jkt: Option<String>) -> (AgentStream, StreamId) {
    let id = StreamId::generate();
    (AgentStream::new(id, NONCE, jkt, 100_000, 1 << 20, NOW), id)
}

fn plain(number: u64) -> Frame {
    Frame::Attach(Attach { number, received: 0, key: None })
}

fn attached() -> AgentStream {
    let (mut stream, _) = stream(None);
    stream.attach(&plain(1), None).unwrap();
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
fn an_attach_with_the_grants_key_is_taken_and_a_later_one_restarts() {
    let viewer = Viewer::new();
    let (mut first, id) = stream(viewer.jkt());
    assert_eq!(first.challenge(), Frame::Challenge { nonce: NONCE, stream: id });
    assert_eq!(
        first.attach(&viewer.attach(id, 1), None),
        Ok(Attachment { number: 1, verdict: Verdict::New })
    );
    assert_eq!(
        first.attached(Verdict::New),
        Frame::Attached { verdict: Verdict::New, received: 0, window: 100_000 }
    );
    let mut second = AgentStream::new(id, NONCE, viewer.jkt(), 100_000, 1 << 20, NOW);
    let attached = second.attach(&viewer.attach(id, 2), Some(1)).unwrap();
    assert_eq!(attached.verdict, Verdict::Restarted);
}

#[test]
fn another_key_another_signature_no_key_or_an_unasked_one_is_refused() {
    let (viewer, other) = (Viewer::new(), Viewer::new());
    let attempt = |jkt: Option<String>, make: &dyn Fn(StreamId) -> Frame| {
        let (mut stream, id) = stream(jkt);
        stream.attach(&make(id), None)
    };
    let key = Err(AttachError::Key);
    assert_eq!(attempt(viewer.jkt(), &|id| other.attach(id, 1)), key);
    assert_eq!(attempt(viewer.jkt(), &|_| viewer.attach(StreamId::generate(), 1)), key);
    assert_eq!(attempt(viewer.jkt(), &|_| plain(1)), key);
    assert_eq!(attempt(None, &|id| viewer.attach(id, 1)), key);
    assert_eq!(AttachError::Key.code(), Code::Key);
    // Signed for number 1, sent as number 2.
    let reused = attempt(viewer.jkt(), &|id| {
        let Frame::Attach(attach) = viewer.attach(id, 1) else { panic!("no attach") };
        Frame::Attach(Attach { number: 2, ..attach })
    });
    assert_eq!(reused, key);
}

#[test]
fn an_attach_number_that_does_not_rise_is_superseded() {
    let (mut stream, _) = stream(None);
    assert_eq!(stream.attach(&plain(5), Some(5)), Err(AttachError::Superseded));
    assert_eq!(stream.attach(&plain(0), None), Err(AttachError::Number));
    assert_eq!(stream.attach(&Frame::Ping { token: 1 }, None), Err(AttachError::NotAttach));
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
    assert_eq!(
        stream.send("hello".into(), NOW),
        Frame::Data { offset: 0, bytes: Bytes::from_static(b"hello") }
    );
    assert_eq!(stream.receive(Frame::Ack { received: 6 }, NOW), Err(ProtocolError::AckBeyondSent));
    assert_eq!(stream.receive(Frame::Ack { received: 5 }, NOW), Ok(Received::Acked));
    assert_eq!(stream.window().in_flight(), 0);
}

#[test]
fn frames_that_only_agents_send_are_errors() {
    let mut stream = attached();
    let frames = [
        plain(2),
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
