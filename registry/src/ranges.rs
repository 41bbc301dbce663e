//! The two range grammars of the protocol, as pure functions.
//!
//! `Range` asks for part of a blob (RFC 9110); `Content-Range` says where a chunk of an upload
//! belongs (the distribution specification's own form, without unit and total).

use std::ops::Range;

/// What a request for a part of `length` bytes comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// No range, or one this server may ignore: send everything.
    Whole,
    /// Send these bytes; never empty.
    Bytes(Range<u64>),
    /// No byte of the content is in the range.
    Unsatisfiable,
}

/// Decides about a `Range` header. Several ranges at once are answered with everything, which
/// RFC 9110 allows and no registry client asks for.
pub(crate) fn part(header: Option<&str>, length: u64) -> Part {
    let Some(spec) = header.and_then(|value| value.trim().strip_prefix("bytes=")) else {
        return Part::Whole;
    };
    let Some((first, last)) = spec.split_once('-') else {
        return Part::Whole;
    };
    let bytes = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..length.min(last.saturating_add(1)),
        (Some(first), None) if last.is_empty() => first..length,
        (None, Some(suffix)) if first.is_empty() => length.saturating_sub(suffix)..length,
        _ => return Part::Whole,
    };
    if bytes.is_empty() {
        Part::Unsatisfiable
    } else {
        Part::Bytes(bytes)
    }
}

/// Reads a chunk's `Content-Range: first-last`, both inclusive, as a half-open range.
pub(crate) fn chunk(header: &str) -> Option<Range<u64>> {
    let (first, last) = header.trim().split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then(|| Some(first..last.checked_add(1)?))?
}

/// The `Range` header of an upload that has `length` bytes. The grammar has no empty range, and
/// clients insist on the header, so that an empty upload says `0-0` as every registry does.
pub(crate) fn received(length: u64) -> String {
    format!("0-{}", length.saturating_sub(1))
}

/// Digits only: `u64::from_str` would take a plus sign.
fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests;
