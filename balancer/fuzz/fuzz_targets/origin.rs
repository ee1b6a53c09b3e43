//! A PROXY header is judged alike whole and byte by byte, takes no byte of what follows it, and what it says can be said again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use meridian_balancer::{Guard, HeaderError, HeaderReader, MAX_HEADER_BYTES, Origin, header_of};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn judge(bytes: &[u8], piece: usize) -> (Result<Option<Option<Origin>>, HeaderError>, usize) {
    let (mut reader, mut used) = (HeaderReader::default(), 0);
    while used < bytes.len() {
        let count = reader.wants().min(piece).min(bytes.len() - used);
        assert!(count > 0, "a reader that wants nothing has answered");
        let answer = reader.push(&bytes[used..used + count]);
        used += count;
        assert!(used <= MAX_HEADER_BYTES);
        if answer != Ok(None) {
            return (answer, used);
        }
    }
    (Ok(None), used)
}

fuzz_target!(|bytes: &[u8]| {
    let signed = [SIGNATURE, bytes].concat();
    for bytes in [bytes, &signed] {
        let (whole, used) = judge(bytes, usize::MAX);
        assert_eq!(judge(bytes, 1).0, whole);
        if let Ok(Some(Some(origin))) = whole {
            let mut guard = Guard::default();
            assert!(!guard.passes(&bytes[..used]), "a header passed for content");
            let again = judge(&header_of(origin).unwrap(), usize::MAX).0;
            let again = again.unwrap().unwrap().unwrap();
            assert_eq!(again.client.ip().to_canonical(), origin.client.ip().to_canonical());
            assert_eq!((again.client.port(), again.server.port()), (origin.client.port(), origin.server.port()));
        }
    }
});
