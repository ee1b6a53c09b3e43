//! An opening is judged alike whole and byte by byte, is passed on as it came, and little of it is held back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian_balancer::{HelloError, MAX_HELLO_BYTES, Opening, OpeningReader};

fn judge(bytes: &[u8], piece: usize) -> Result<Option<Opening>, HelloError> {
    let (mut reader, mut used) = (OpeningReader::default(), 0);
    for piece in bytes.chunks(piece) {
        used += piece.len();
        match reader.push(piece) {
            Ok(None) => assert!(used < MAX_HELLO_BYTES),
            Ok(Some(opening)) => {
                assert_eq!(reader.into_bytes(), &bytes[..used]);
                return Ok(Some(opening));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fuzz_target!(|bytes: &[u8]| {
    let tls = [&[0x16, 3, 1][..], bytes].concat();
    for bytes in [bytes, &tls] {
        if bytes.len() < MAX_HELLO_BYTES {
            assert_eq!(judge(bytes, 1), judge(bytes, bytes.len().max(1)));
        }
    }
});
