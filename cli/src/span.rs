//! Lengths of time as people write them.

use std::{str::FromStr, time::Duration};

/// A length of time as people write it: `90s`, `10m`, `1h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "write a number and s, m, h or d, for example 10m";
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let number: u64 = digits.parse().map_err(|_| FORM)?;
        let unit = match &text[digits.len()..] {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            "d" => 24 * 60 * 60,
            _ => return Err(FORM),
        };
        let secs = number.checked_mul(unit).ok_or("that is too long")?;
        Ok(Self(Duration::from_secs(secs)))
    }
}
