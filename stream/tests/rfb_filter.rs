//! The allow-list on what viewers say, against well-behaved and hostile ones.

use meridian_model::Policy;
use meridian_stream::rfb::{ClientFilter, FilterError, MAX_BUFFERED_BYTES};
use proptest::prelude::*;

const HELLO: &[u8] = b"RFB 003.008\n\x01\x00";
const HELLO_OUT: &[u8] = b"RFB 003.008\n\x01\x01";
const WATCHER: Policy = Policy { input: false, clipboard_in: false, clipboard_out: false, resize: false };

fn set_encodings(encodings: &[i32]) -> Vec<u8> {
    let mut bytes = vec![2, 0];
    bytes.extend((encodings.len() as u16).to_be_bytes());
    bytes.extend(encodings.iter().flat_map(|encoding| encoding.to_be_bytes()));
    bytes
}

fn key(keysym: u32, down: bool) -> Vec<u8> {
    [&[4, u8::from(down), 0, 0][..], &keysym.to_be_bytes()].concat()
}

fn extended_key(keysym: u32, code: u32, down: bool) -> Vec<u8> {
    [&[255, 0, 0, u8::from(down)][..], &keysym.to_be_bytes(), &code.to_be_bytes()].concat()
}

fn pointer(buttons: u8) -> Vec<u8> {
    vec![5, buttons, 1, 2, 3, 4]
}

fn cut_text(length: i32, body: usize) -> Vec<u8> {
    let mut bytes = vec![6, 0, 0, 0];
    bytes.extend(length.to_be_bytes());
    bytes.resize(8 + body, b'x');
    bytes
}

fn desktop_size(screens: u8) -> Vec<u8> {
    let mut bytes = vec![251, 0, 4, 0, 3, 0, screens, 0];
    bytes.resize(8 + 16 * usize::from(screens), 1);
    bytes
}

fn fence(payload: u8) -> Vec<u8> {
    let mut bytes = vec![248, 0, 0, 0, 0, 0, 0, 1, payload];
    bytes.resize(9 + usize::from(payload), 5);
    bytes
}

fn pixel_format() -> Vec<u8> {
    [0; 20].to_vec()
}

fn update_request() -> Vec<u8> {
    vec![3, 1, 0, 0, 0, 0, 1, 0, 1, 0]
}

fn continuous_updates() -> Vec<u8> {
    vec![150, 1, 0, 0, 0, 0, 1, 0, 1, 0]
}

fn filter(policy: Policy, input: &[u8]) -> Result<Vec<u8>, FilterError> {
    let mut out = Vec::new();
    ClientFilter::new(policy).push(&[HELLO, input].concat(), &mut out)?;
    assert_eq!(&out[..HELLO_OUT.len()], HELLO_OUT, "the handshake passes, always shared");
    Ok(out.split_off(HELLO_OUT.len()))
}

#[test]
fn every_message_of_the_list_passes_unchanged() {
    let all = [
        pixel_format(),
        set_encodings(&[16, 7, -239, -308]),
        update_request(),
        key(0x41, true),
        pointer(1),
        continuous_updates(),
        fence(8),
        desktop_size(1),
        extended_key(0x41, 30, true),
    ];
    for message in &all {
        assert_eq!(filter(Policy::OWNER, message).as_ref(), Ok(message));
    }
    assert_eq!(filter(Policy::OWNER, &all.concat()), Ok(all.concat()));
}

#[test]
fn a_watcher_moves_nothing() {
    let input =
        [key(1, true), pointer(1), extended_key(1, 1, true), desktop_size(2), update_request()].concat();
    assert_eq!(filter(WATCHER, &input), Ok(update_request()));
}

#[test]
fn cut_text_is_dropped_whole_in_both_its_forms() {
    let input = [cut_text(5, 5), cut_text(0, 0), cut_text(-7, 7), update_request()].concat();
    assert_eq!(filter(Policy::OWNER, &input), Ok(update_request()));
    assert_eq!(
        filter(Policy::OWNER, &cut_text((1 << 20) + 1, 0)),
        Err(FilterError::TooLong("ClientCutText"))
    );
    assert_eq!(filter(Policy::OWNER, &cut_text(i32::MIN, 0)), Err(FilterError::TooLong("ClientCutText")));
}

#[test]
fn everything_else_is_refused() {
    for kind in (0..=255_u8).filter(|kind| ![0, 2, 3, 4, 5, 6, 150, 248, 251, 255].contains(kind)) {
        assert_eq!(filter(Policy::OWNER, &[kind; 64]), Err(FilterError::Message(kind)));
    }
    assert_eq!(filter(Policy::OWNER, &[255, 1, 0, 2]), Err(FilterError::Message(255)), "QEMU audio");
    assert_eq!(filter(Policy::OWNER, &[2, 0, 1, 1]), Err(FilterError::TooLong("SetEncodings")));
    assert_eq!(filter(Policy::OWNER, &fence(65)[..9]), Err(FilterError::TooLong("ClientFence")));
    assert_eq!(filter(Policy::OWNER, &desktop_size(17)[..8]), Err(FilterError::TooLong("SetDesktopSize")));
}

#[test]
fn another_version_or_security_type_is_refused() {
    let push = |bytes: &[u8]| ClientFilter::new(Policy::OWNER).push(bytes, &mut Vec::new());
    assert_eq!(push(b"RFB 003.003\n"), Err(FilterError::Version));
    assert_eq!(push(b"GET / HTTP/1.1"), Err(FilterError::Version));
    assert_eq!(push(b"RFB 003.008\n\x02"), Err(FilterError::Security(2)));
}

#[test]
fn encodings_that_change_the_protocol_are_struck() {
    let input = set_encodings(&[16, -316, -309, -305, -259, 0xC0A1_E5CE_u32 as i32, -308]);
    assert_eq!(filter(Policy::OWNER, &input), Ok(set_encodings(&[16, -308])));
}

#[test]
fn what_is_held_is_released_once() {
    let mut filter = ClientFilter::new(Policy::OWNER);
    let input = [
        HELLO.to_vec(),
        key(0x61, true),
        key(0x62, true),
        key(0x61, false),
        extended_key(0x63, 46, true),
        pointer(5),
    ];
    filter.push(&input.concat(), &mut Vec::new()).unwrap();
    let released = [key(0x62, false), extended_key(0x63, 46, false), pointer(0)].concat();
    assert_eq!(filter.release(), released);
    assert_eq!(filter.release(), Vec::<u8>::new());
}

#[test]
fn more_keys_than_fingers_are_refused() {
    let input: Vec<u8> = (0..257).flat_map(|keysym| key(keysym, true)).collect();
    assert_eq!(filter(Policy::OWNER, &input), Err(FilterError::Keys));
}

fn messages() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(pixel_format()),
        proptest::collection::vec(any::<i32>(), 0..40).prop_map(|encodings| set_encodings(&encodings)),
        Just(update_request()),
        (any::<u32>(), any::<bool>()).prop_map(|(keysym, down)| key(keysym, down)),
        any::<u8>().prop_map(pointer),
        (0_usize..200).prop_map(|length| cut_text(length as i32, length)),
        (0_usize..200).prop_map(|length| cut_text(-(length as i32), length)),
        Just(continuous_updates()),
        (0_u8..=64).prop_map(fence),
        (0_u8..=16).prop_map(desktop_size),
        (any::<u32>(), any::<u32>()).prop_map(|(keysym, code)| extended_key(keysym, code, true)),
    ]
}

proptest! {
    #[test]
    fn however_the_input_is_cut_the_output_is_the_same(
        input in proptest::collection::vec(messages(), 0..20),
        cuts in proptest::collection::vec(1_usize..40, 1..60),
        input_allowed in any::<bool>(),
    ) {
        let policy = Policy { input: input_allowed, ..Policy::OWNER };
        let input = [HELLO.to_vec(), input.concat()].concat();
        let mut whole = Vec::new();
        ClientFilter::new(policy).push(&input, &mut whole).unwrap();
        let (mut filter, mut out, mut rest) = (ClientFilter::new(policy), Vec::new(), &input[..]);
        let mut cuts = cuts.into_iter().cycle();
        while !rest.is_empty() {
            let (part, after) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
            filter.push(part, &mut out).unwrap();
            rest = after;
        }
        prop_assert_eq!(out, whole);
        prop_assert_eq!(filter.buffered(), 0);
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_pile_up(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        cut in 1_usize..64,
        greet in any::<bool>(),
    ) {
        let input = if greet { [HELLO, &bytes].concat() } else { bytes };
        let (mut filter, mut out) = (ClientFilter::new(Policy::OWNER), Vec::new());
        for part in input.chunks(cut) {
            if filter.push(part, &mut out).is_err() {
                break;
            }
            prop_assert!(filter.buffered() <= MAX_BUFFERED_BYTES);
        }
        prop_assert!(out.len() <= input.len());
    }
}
