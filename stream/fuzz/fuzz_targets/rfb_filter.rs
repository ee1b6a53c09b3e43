//! The same bytes, whole and byte by byte, are judged alike, and little of them is held back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian_model::Policy;
use meridian_stream::rfb::{ClientFilter, MAX_BUFFERED_BYTES};

fuzz_target!(|bytes: &[u8]| {
    let input = [b"RFB 003.008\n\x01\x01", bytes].concat();
    let (mut whole, mut whole_out) = (ClientFilter::new(Policy::OWNER), Vec::new());
    let verdict = whole.push(&input, &mut whole_out);
    let (mut piecewise, mut out) = (ClientFilter::new(Policy::OWNER), Vec::new());
    let mut piecewise_verdict = Ok(());
    for byte in &input {
        piecewise_verdict = piecewise.push(&[*byte], &mut out);
        assert!(piecewise.buffered() <= MAX_BUFFERED_BYTES);
        if piecewise_verdict.is_err() {
            break;
        }
    }
    assert_eq!((verdict, whole_out), (piecewise_verdict, out));
});
