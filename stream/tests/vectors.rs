//! The vectors in stream/vectors, which this core and the viewer's (console/app/stream) are both tested against: frames in wire form, the text
//! that is signed, and what both sides say when paths break.
//!
//! They are made here and compared with the committed files. Where they differ the new one is left in the target directory, and the failure
//! names it: copy it over the committed one when the difference is meant.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[expect(dead_code, reason = "the property tests use the rest")]
mod model;
mod script;

use std::{fmt::Write as _, path::Path};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use bytes::Bytes;
use meridian_ids::{StreamId, Uuid};
use meridian_stream::{
    Attach, AttachError, Challenge, Code, Frame, FrameError, MAX_MESSAGE_BYTES, Verdict, ViewerKey,
    attach_text,
};
use script::hex;

/// Of a key that was made for these vectors and is used for nothing else; its private half was not kept.
const POINT: &str = include_str!("vectors/point.hex");
/// Its signature over the text of `signed`.
const SIGNATURE: &str = include_str!("vectors/signature.hex");

fn unhex(text: &str) -> Vec<u8> {
    let text = text.trim();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn compare(name: &str, made: &str) {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    if std::fs::read_to_string(&committed).is_ok_and(|text| text == made) {
        return;
    }
    let left = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&left, made).unwrap();
    panic!("{} differs from {}", committed.display(), left.display());
}

fn nonce() -> [u8; 32] {
    std::array::from_fn(|at| at as u8)
}

fn stream() -> StreamId {
    StreamId(Uuid::from_u128(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f))
}

fn signed() -> Attach {
    let key = ViewerKey {
        point: unhex(POINT).try_into().unwrap(),
        signature: unhex(SIGNATURE).try_into().unwrap(),
    };
    Attach { number: 0x0102_0304_0506, received: 0x1_0000_0003, key: Some(key) }
}

#[test]
fn the_text_that_is_signed() {
    let Attach { number, received, key } = signed();
    let (key, text) = (key.unwrap(), attach_text(&nonce(), stream(), number, received));
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.point).verify(&text, &key.signature).unwrap();
    let jkt = meridian_ticket::p256_thumbprint(&key.point).unwrap();
    let challenge = Challenge::new(nonce(), stream(), Some(jkt.clone()));
    assert_eq!(challenge.judge(Frame::Attach(signed())), Ok(signed()));
    let other = Attach { received: received + 1, ..signed() };
    assert_eq!(challenge.judge(Frame::Attach(other)), Err(AttachError::Key));
    let made = format!(
        r#"{{
  "nonce": "{}",
  "stream_id": "{}",
  "attach_number": {number},
  "received": {received},
  "text": "{}",
  "public_key": "{}",
  "thumbprint": "{jkt}",
  "signature": "{}"
}}
"#,
        hex(&nonce()),
        hex(stream().0.as_bytes()),
        hex(&text),
        hex(&key.point),
        hex(&key.signature),
    );
    compare("attach.json", &made);
}

/// The fields of a frame as the viewer's side names them. Tokens are texts, because they need all their 64 bits.
fn fields(frame: &Frame) -> (&'static str, String) {
    let key = |bytes: Option<&[u8]>| bytes.map_or("null".into(), |bytes| format!("\"{}\"", hex(bytes)));
    let text = |code: Code, message: &str| {
        let name = match code {
            Code::Protocol => "protocol",
            Code::Key => "key",
            Code::Superseded => "superseded",
            Code::Ended => "ended",
            Code::DisplayUnavailable => "display_unavailable",
            Code::Draining => "draining",
            Code::ClipboardRefused => "clipboard_refused",
            Code::Revoked => "revoked",
            Code::Idle => "idle",
            Code::Unknown(_) => "unknown",
        };
        format!(r#""code": "{name}", "text": "{message}""#)
    };
    match frame {
        Frame::Challenge { nonce, stream } => {
            ("challenge", format!(r#""nonce": "{}", "streamId": "{}""#, hex(nonce), hex(stream.0.as_bytes())))
        }
        Frame::Attach(Attach { number, received, key: pair }) => (
            "attach",
            format!(
                r#""attachNumber": {number}, "received": {received}, "key": {}, "signature": {}"#,
                key(pair.as_ref().map(|pair| &pair.point[..])),
                key(pair.as_ref().map(|pair| &pair.signature[..])),
            ),
        ),
        Frame::Attached { verdict, received, window } => {
            let verdict = script::name(*verdict);
            ("attached", format!(r#""verdict": "{verdict}", "received": {received}, "window": {window}"#))
        }
        Frame::Refused { code, message } => ("refused", text(*code, message)),
        Frame::Data { offset, bytes } => {
            ("data", format!(r#""offset": {offset}, "bytes": "{}""#, hex(bytes)))
        }
        Frame::Ack { received } => ("ack", format!(r#""received": {received}"#)),
        Frame::Ping { token } => ("ping", format!(r#""token": "{token}""#)),
        Frame::Pong { token } => ("pong", format!(r#""token": "{token}""#)),
        Frame::Notice { code, message } => ("notice", text(*code, message)),
        Frame::Leave => ("leave", String::new()),
    }
}

fn frames() -> Vec<(&'static str, Frame)> {
    let attached = |verdict, received, window| Frame::Attached { verdict, received, window };
    let codes = (0..=10).map(Code::from_number).collect::<Vec<_>>();
    let mut frames = vec![
        ("agent", Frame::Challenge { nonce: nonce(), stream: stream() }),
        ("viewer", Frame::Attach(Attach { number: 1, received: 0, key: None })),
        ("viewer", Frame::Attach(signed())),
        ("agent", attached(Verdict::New, 0, 131_072)),
        ("agent", attached(Verdict::Resumed, 1 << 40, u32::MAX)),
        ("agent", attached(Verdict::Restarted, 0, 1)),
        ("both", Frame::Data { offset: 0, bytes: Bytes::from_static(&[0]) }),
        ("both", Frame::Data { offset: (1 << 53) - 100_000, bytes: Bytes::from_static(b"late") }),
        ("both", Frame::Ack { received: 0 }),
        ("both", Frame::Ack { received: (1 << 53) - 1 }),
        ("both", Frame::Ping { token: u64::MAX }),
        ("both", Frame::Pong { token: (1 << 53) + 1 }),
        ("viewer", Frame::Leave),
        ("agent", Frame::Refused { code: Code::Key, message: "\u{fc}ber \u{1f511}".into() }),
    ];
    frames.extend(codes.iter().map(|code| ("agent", Frame::Notice { code: *code, message: String::new() })));
    frames
}

fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let challenge = Frame::Challenge { nonce: nonce(), stream: stream() }.encode().to_vec();
    let attached = Frame::Attached { verdict: Verdict::New, received: 0, window: 1 }.encode().to_vec();
    let with = |bytes: &[u8], at: usize, value: u8| {
        let mut bytes = bytes.to_vec();
        bytes[at] = value;
        bytes
    };
    vec![
        ("an empty message", vec![]),
        ("a message of an unknown kind", vec![0x7f, 1]),
        ("CHALLENGE of another version", with(&challenge, 1, 2)),
        ("CHALLENGE cut short", challenge[..49].to_vec()),
        ("CHALLENGE with a byte too many", [&challenge[..], &[0]].concat()),
        ("ATTACHED with an unknown verdict", with(&attached, 1, 3)),
        ("ATTACHED cut short", attached[..13].to_vec()),
        ("REFUSED without a code", vec![0x04, 0]),
        ("NOTICE with a text that is too long", [&[0x14, 0, 4][..], &[b'x'; 513]].concat()),
        ("DATA without bytes", vec![0x10, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("DATA without an offset", vec![0x10, 0, 0]),
        ("ACK with a byte too many", vec![0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("PING cut short", vec![0x12, 0, 0, 0, 0, 0, 0, 0]),
        ("LEAVE with a byte too many", vec![0x15, 0]),
    ]
}

#[test]
fn frames_in_wire_form() {
    let mut made = String::from("{\n  \"frames\": [\n");
    let frames = frames();
    for (at, (from, frame)) in frames.iter().enumerate() {
        let (kind, fields) = fields(frame);
        let comma = if at + 1 < frames.len() { "," } else { "" };
        let message = hex(&frame.encode());
        let fields = if fields.is_empty() { fields } else { format!("{fields}, ") };
        let line = format!(r#"{{"from": "{from}", "kind": "{kind}", {fields}"message": "{message}"}}"#);
        writeln!(made, "    {line}{comma}").unwrap();
        // A code without a name is a number here and a word there.
        assert_eq!(&Frame::decode(frame.encode()).unwrap(), frame);
    }
    made.push_str("  ],\n  \"malformed\": [\n");
    let malformed = malformed();
    for (at, (what, message)) in malformed.iter().enumerate() {
        assert!(Frame::decode(message.clone().into()).is_err(), "{what}");
        let comma = if at + 1 < malformed.len() { "," } else { "" };
        writeln!(made, r#"    {{"what": "{what}", "message": "{}"}}{comma}"#, hex(message)).unwrap();
    }
    made.push_str("  ]\n}\n");
    assert_eq!(Frame::decode(vec![0x10; MAX_MESSAGE_BYTES + 1].into()), Err(FrameError::Size));
    compare("frames.json", &made);
}

#[test]
fn what_both_sides_say_when_paths_break() {
    compare("resume.json", &script::scenarios());
}
