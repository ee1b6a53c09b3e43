//! The client messages of the allow-list and how long each is.

/// More encodings than any client knows.
pub(super) const MAX_ENCODINGS: usize = 256;
/// More screens than anyone has.
pub(super) const MAX_SCREENS: usize = 16;
/// RFC-conforming fences carry at most this many bytes.
const MAX_FENCE_BYTES: usize = 64;
/// Cut text is dropped unread, yet not without end.
pub(super) const MAX_CUT_TEXT_BYTES: u32 = 1 << 20;

/// What a client message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    SetPixelFormat,
    SetEncodings,
    UpdateRequest,
    Key,
    Pointer,
    CutText,
    ContinuousUpdates,
    Fence,
    DesktopSize,
    ExtendedKey,
}

/// What the first bytes of a message say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// The message is at least this long; ask again then.
    AtLeast(usize),
    /// All of it.
    Exactly(usize),
    /// A header of 8 bytes, and then this many to be skipped.
    Skip(u32),
}

/// A message that is not on the list, or is longer than its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    Unknown(u8),
    TooLong(&'static str),
}

/// Judges the beginning of a message; `bytes` has at least one.
pub(super) fn judge(bytes: &[u8]) -> Result<(Kind, Length), Unfit> {
    let at = |index: usize| bytes.get(index).copied().map(usize::from);
    let after = |needed: usize, count: Option<usize>, exact: &dyn Fn(usize) -> usize| {
        count.map_or(Length::AtLeast(needed), |count| Length::Exactly(exact(count)))
    };
    let judged = match bytes[0] {
        0 => (Kind::SetPixelFormat, Length::Exactly(20)),
        2 => {
            let count = at(2).zip(at(3)).map(|(high, low)| high << 8 | low);
            check(count, MAX_ENCODINGS, "SetEncodings")?;
            (Kind::SetEncodings, after(4, count, &|count| 4 + 4 * count))
        }
        3 => (Kind::UpdateRequest, Length::Exactly(10)),
        4 => (Kind::Key, Length::Exactly(8)),
        5 => (Kind::Pointer, Length::Exactly(6)),
        6 => (Kind::CutText, cut_text(bytes)?),
        150 => (Kind::ContinuousUpdates, Length::Exactly(10)),
        248 => {
            let count = at(8);
            check(count, MAX_FENCE_BYTES, "ClientFence")?;
            (Kind::Fence, after(9, count, &|count| 9 + count))
        }
        251 => {
            let count = at(6);
            check(count, MAX_SCREENS, "SetDesktopSize")?;
            (Kind::DesktopSize, after(8, count, &|count| 8 + 16 * count))
        }
        255 => match at(1) {
            None => (Kind::ExtendedKey, Length::AtLeast(2)),
            Some(0) => (Kind::ExtendedKey, Length::Exactly(12)),
            // QEMU's other submessages are audio.
            Some(_) => return Err(Unfit::Unknown(255)),
        },
        other => return Err(Unfit::Unknown(other)),
    };
    Ok(judged)
}

fn check(count: Option<usize>, at_most: usize, what: &'static str) -> Result<(), Unfit> {
    if count.is_some_and(|count| count > at_most) { Err(Unfit::TooLong(what)) } else { Ok(()) }
}

/// A negative length is the extended clipboard's: its absolute value counts.
fn cut_text(bytes: &[u8]) -> Result<Length, Unfit> {
    let Some([a, b, c, d]) = bytes.get(4..8) else { return Ok(Length::AtLeast(8)) };
    let length = i32::from_be_bytes([*a, *b, *c, *d]).unsigned_abs();
    if length > MAX_CUT_TEXT_BYTES { Err(Unfit::TooLong("ClientCutText")) } else { Ok(Length::Skip(length)) }
}
