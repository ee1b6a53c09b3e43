//! A message is a frame that encodes to itself, or an error; the records inside never upset their reader.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use meridian_stream::{Frame, RecordReader};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = Frame::decode(Bytes::copy_from_slice(bytes)) {
        assert_eq!(frame.encode(), bytes);
    }
    let (mut reader, mut input) = (RecordReader::default(), bytes);
    while let Ok(Some(_)) = reader.next(&mut input) {}
});
