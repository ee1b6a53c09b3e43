//! Frames and records survive the wire, and nothing else does any harm.

use bytes::Bytes;
use meridian_ids::{StreamId, Uuid};
use meridian_stream::{
    Attach, Channel, Code, Frame, FrameError, MAX_MESSAGE_BYTES, MAX_RECORD_BYTES, MAX_TEXT_BYTES, Piece,
    RecordError, RecordReader, Verdict, ViewerKey, record_header,
};
use proptest::prelude::*;

fn codes() -> impl Strategy<Value = Code> {
    any::<u16>().prop_map(Code::from_number)
}

fn frames() -> impl Strategy<Value = Frame> {
    let key = (proptest::array::uniform32(any::<u8>()), any::<u8>()).prop_map(|(bytes, first)| {
        let mut point = [first; 65];
        point[1..33].copy_from_slice(&bytes);
        ViewerKey { point, signature: [bytes[0]; 64] }
    });
    prop_oneof![
        (proptest::array::uniform32(any::<u8>()), any::<u128>())
            .prop_map(|(nonce, id)| Frame::Challenge { nonce, stream: StreamId(Uuid::from_u128(id)) }),
        (any::<u64>(), any::<u64>(), proptest::option::of(key))
            .prop_map(|(number, received, key)| Frame::Attach(Attach { number, received, key })),
        (0..3, any::<u64>(), any::<u32>()).prop_map(|(verdict, received, window)| Frame::Attached {
            verdict: [Verdict::New, Verdict::Resumed, Verdict::Restarted][verdict as usize],
            received,
            window
        }),
        (codes(), "[a-zé]{0,200}").prop_map(|(code, message)| Frame::Refused { code, message }),
        (codes(), "[a-zé]{0,200}").prop_map(|(code, message)| Frame::Notice { code, message }),
        (0..u64::MAX / 2, proptest::collection::vec(any::<u8>(), 1..2000))
            .prop_map(|(offset, bytes)| Frame::Data { offset, bytes: bytes.into() }),
        any::<u64>().prop_map(|received| Frame::Ack { received }),
        any::<u64>().prop_map(|token| Frame::Ping { token }),
        any::<u64>().prop_map(|token| Frame::Pong { token }),
    ]
}

proptest! {
    #[test]
    fn a_frame_survives_the_wire(frame in frames()) {
        prop_assert_eq!(Frame::decode(frame.encode()), Ok(frame));
    }

    #[test]
    fn any_message_is_a_frame_that_encodes_to_itself_or_an_error(message in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(frame) = Frame::decode(message.clone().into()) {
            prop_assert_eq!(frame.encode(), Bytes::from(message));
        }
    }

    #[test]
    fn records_come_out_the_same_however_they_are_cut(
        records in proptest::collection::vec((1_u8..=3, proptest::collection::vec(any::<u8>(), 0..200)), 0..8),
        cuts in proptest::collection::vec(1_usize..50, 1..60),
    ) {
        let mut stream = Vec::new();
        let (mut display, mut whole) = (Vec::new(), Vec::new());
        for (number, payload) in &records {
            let channel = [Channel::Display, Channel::Clipboard, Channel::Control][usize::from(*number) - 1];
            stream.extend(record_header(channel, payload.len()).unwrap());
            stream.extend(payload);
            match channel {
                Channel::Display => display.extend_from_slice(payload),
                Channel::Clipboard | Channel::Control => whole.push((channel, payload.clone())),
            }
        }
        let (mut reader, mut rest, mut cuts) = (RecordReader::default(), &stream[..], cuts.into_iter().cycle());
        let (mut display_found, mut whole_found) = (Vec::new(), Vec::new());
        while !rest.is_empty() {
            let (mut part, after) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
            rest = after;
            while let Some(piece) = reader.next(&mut part).unwrap() {
                match piece {
                    Piece::Display(bytes) => display_found.extend_from_slice(bytes),
                    Piece::Whole(channel, bytes) => whole_found.push((channel, bytes)),
                }
            }
        }
        prop_assert_eq!(display_found, display);
        prop_assert_eq!(whole_found, whole);
    }

    #[test]
    fn arbitrary_bytes_never_upset_the_record_reader(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        let (mut reader, mut input) = (RecordReader::default(), &bytes[..]);
        while let Ok(Some(_)) = reader.next(&mut input) {}
    }
}

#[test]
fn an_empty_or_oversized_message_is_refused_before_it_is_looked_at() {
    assert_eq!(Frame::decode(Bytes::new()), Err(FrameError::Size));
    assert_eq!(Frame::decode(vec![0x10; MAX_MESSAGE_BYTES + 1].into()), Err(FrameError::Size));
    assert!(Frame::decode(vec![0x10; MAX_MESSAGE_BYTES].into()).is_ok());
}

#[test]
fn another_version_is_named() {
    let mut challenge = Frame::Challenge { nonce: [0; 32], stream: StreamId(Uuid::nil()) }.encode().to_vec();
    challenge[1] = 2;
    assert_eq!(Frame::decode(challenge.into()), Err(FrameError::Version(2)));
}

#[test]
fn a_long_text_is_cut_at_a_characters_border() {
    let message = "é".repeat(MAX_TEXT_BYTES);
    let Ok(Frame::Notice { message, .. }) =
        Frame::decode(Frame::Notice { code: Code::Ended, message: format!("x{message}") }.encode())
    else {
        panic!("no notice");
    };
    assert_eq!(message.len(), MAX_TEXT_BYTES - 1);
}

#[test]
fn a_record_beyond_its_channels_bound_is_refused_by_its_header() {
    let mut reader = RecordReader::default();
    let header = [&[2][..], &(MAX_RECORD_BYTES as u32 + 1).to_be_bytes()].concat();
    assert_eq!(reader.next(&mut &header[..]), Err(RecordError::Length(MAX_RECORD_BYTES as u32 + 1)));
    assert_eq!(RecordReader::default().next(&mut &[9, 0, 0, 0, 0][..]), Err(RecordError::Channel(9)));
    assert!(record_header(Channel::Display, 65_537).is_err());
}
