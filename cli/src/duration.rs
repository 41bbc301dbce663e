//! Spans of time as people write and read them. Pure.

/// Reads `90`, `90s`, `15m`, `2h` or `1d` as seconds.
pub(crate) fn parse_secs(text: &str) -> Result<u32, String> {
    const RULE: &str = "write a number of seconds, or 90s, 15m, 2h, 1d";
    let (number, factor) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3_600),
        Some((at, 'd')) => (&text[..at], 86_400),
        _ => (text, 1),
    };
    let number: u32 = number.parse().map_err(|_| RULE.to_owned())?;
    number.checked_mul(factor).ok_or_else(|| RULE.to_owned())
}

/// `59s`, `2m 5s`, `3h 20m`, `1d 2h`: the two units that tell most.
pub(crate) fn show(secs: u32) -> String {
    let two = |large: u32, one: char, small: u32, other: char| match small {
        0 => format!("{large}{one}"),
        small => format!("{large}{one} {small}{other}"),
    };
    match secs {
        0..60 => format!("{secs}s"),
        60..3_600 => two(secs / 60, 'm', secs % 60, 's'),
        3_600..86_400 => two(secs / 3_600, 'h', secs % 3_600 / 60, 'm'),
        _ => two(secs / 86_400, 'd', secs % 86_400 / 3_600, 'h'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_shown() {
        for (text, secs) in [
            ("90", 90),
            ("90s", 90),
            ("15m", 900),
            ("2h", 7_200),
            ("1d", 86_400),
        ] {
            assert_eq!(parse_secs(text), Ok(secs), "{text}");
        }
        for bad in [
            "",
            "h",
            "1.5h",
            "-1",
            "1w",
            "99999999999",
            "4294967295d",
            "1 h",
        ] {
            assert!(parse_secs(bad).is_err(), "{bad}");
        }
        for (secs, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (125, "2m 5s"),
            (12_000, "3h 20m"),
            (93_600, "1d 2h"),
        ] {
            assert_eq!(show(secs), text);
        }
    }
}
