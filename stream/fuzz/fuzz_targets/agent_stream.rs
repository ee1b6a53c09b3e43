//! Whatever frames and attaches come, in whatever order: the agent's core keeps within its bounds, never goes back on what it
//! acknowledged, and sends every byte at its own offset.
#![no_main]

use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use meridian_stream::{AgentStream, Attach, Frame, Verdict, ViewerKey};

const WINDOW: u32 = 1 << 17;

/// The byte of the agent's counted stream at an offset.
fn at(offset: u64) -> u8 {
    (offset.wrapping_mul(2_654_435_761) >> 9) as u8
}

fuzz_target!(|input: &[u8]| {
    let mut stream = AgentStream::new(1 << 16, WINDOW, None, Duration::ZERO);
    let (mut written, mut received, mut number, mut now) = (0_u64, 0_u64, 0_u64, Duration::ZERO);
    let mut rest = input;
    while let [step, a, b, after @ ..] = rest {
        rest = after;
        let value = u64::from(u16::from_be_bytes([*a, *b]));
        match step % 7 {
            0 => {
                // Around every border that counts have.
                let window = stream.window();
                let borders = [0, window.acked(), window.sent(), window.highest(), u64::MAX / 2];
                let from = borders[usize::from(step / 7) % borders.len()];
                let key = (value % 7 != 0).then_some(ViewerKey { point: [4; 65], signature: [5; 64] });
                let attach =
                    Attach { number: number + value % 3, received: from.saturating_add(value % 5), key };
                match stream.attach(&attach, value % 11 != 0, now) {
                    Ok(Verdict::Resumed) => assert!(attach.received <= stream.window().highest()),
                    Ok(Verdict::New | Verdict::Restarted) => {
                        (written, received) = (0, 0);
                        assert_eq!((stream.kept(), stream.unsent()), (0, 0));
                    }
                    Err(_) => continue,
                }
                number = attach.number;
                let said = Frame::Attached { verdict: Verdict::Resumed, received, window: 1 << 16 };
                assert_eq!(stream.attached(Verdict::Resumed), said);
            }
            1 => {
                if stream.unsent() == 0 {
                    let bytes: Vec<u8> = (written..written + value).map(at).collect();
                    stream.write(&bytes);
                    written += value;
                }
            }
            2 => {
                while let Some(message) = stream.next_message(now) {
                    let Ok(Frame::Data { offset, bytes }) = Frame::decode(message) else { panic!("no DATA") };
                    assert!(bytes.iter().zip(offset..).all(|(byte, offset)| *byte == at(offset)));
                    assert!(offset + bytes.len() as u64 <= written);
                }
            }
            3 => {
                let ack = stream.window().acked().saturating_add(value % 9).saturating_sub(2);
                let fits = ack <= stream.window().highest();
                assert_eq!(stream.receive(Frame::Ack { received: ack }, now).is_ok(), fits);
            }
            4 => {
                let offset = received.saturating_add(value % 4).saturating_sub(2);
                let frame = Frame::Data { offset, bytes: Bytes::from(vec![1; usize::from(*b) + 1]) };
                if let Ok(meridian_stream::Received::Data(bytes)) = stream.receive(frame, now) {
                    received += bytes.len() as u64;
                }
                if value % 2 == 0 {
                    stream.ack();
                }
            }
            5 => {
                if value % 5 == 0 {
                    assert_eq!(stream.receive(Frame::Leave, now), Ok(meridian_stream::Received::Left));
                    (written, received) = (0, 0);
                    assert_eq!((stream.kept(), stream.unsent(), stream.ack()), (0, 0, None));
                }
            }
            _ => {
                now += Duration::from_millis(value);
                if let Ok(frame) = Frame::decode(Bytes::copy_from_slice(rest)) {
                    // Frames as they come, once: what they change is not followed here.
                    let _ = stream.receive(frame, now);
                    return;
                }
            }
        }
        let window = stream.window();
        assert!(window.acked() <= window.sent() && window.sent() <= window.highest());
        assert!(window.in_flight() <= u64::from(WINDOW));
        assert!(stream.kept() as u64 <= u64::from(WINDOW) + u64::from(u16::MAX));
        assert_eq!(window.acked() + stream.kept() as u64, written);
    }
});
