//! Sizes as people write them: `10GB`, `512MB`. Units count in 1024, as everywhere in Fairway.

use super::{VOLUME_BYTES_MAX, VOLUME_BYTES_MIN};

const KIB: u64 = 1024;

/// A text that is no size of a volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no size: write a number from 1 and a unit, such as 10GB, 512MB or 2TB, from 16MB to \
     16TB"
)]
pub struct InvalidSize(pub String);

/// The bytes of a size from [`VOLUME_BYTES_MIN`] to [`VOLUME_BYTES_MAX`].
///
/// ```
/// use fairway_api::volumes::parse_size;
/// assert_eq!(parse_size("10GB").unwrap(), 10 << 30);
/// assert!(parse_size("-1GB").is_err());
/// ```
pub fn parse_size(text: &str) -> Result<u64, InvalidSize> {
    let invalid = || InvalidSize(text.chars().take(40).collect());
    let trimmed = text.trim();
    let digits = trimmed.len()
        - trimmed
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .len();
    let (number, unit) = trimmed.split_at(digits);
    let number: u64 = number.parse().map_err(|_| invalid())?;
    let unit = match unit.trim().to_ascii_uppercase().as_str() {
        "M" | "MB" | "MIB" => KIB * KIB,
        "G" | "GB" | "GIB" => KIB * KIB * KIB,
        "T" | "TB" | "TIB" => KIB * KIB * KIB * KIB,
        _ => return Err(invalid()),
    };
    let bytes = number.checked_mul(unit).ok_or_else(invalid)?;
    if (VOLUME_BYTES_MIN..=VOLUME_BYTES_MAX).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(invalid())
    }
}

/// A number of bytes with the unit that leaves the fewest digits: `1.5 GB`.
pub fn show_size(bytes: u64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB"];
    let (mut unit, mut tenths) = (0, u128::from(bytes) * 10);
    while tenths >= u128::from(KIB) * 10 && unit + 1 < units.len() {
        tenths = tenths.div_ceil(u128::from(KIB));
        unit += 1;
    }
    let (whole, tenth) = (tenths / 10, tenths % 10);
    if tenth == 0 || unit == 0 {
        format!("{whole} {}", units[unit])
    } else {
        format!("{whole}.{tenth} {}", units[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_with_a_unit_and_have_limits() {
        for (text, bytes) in [
            ("16MB", 16 << 20),
            (" 10 gb ", 10 << 30),
            ("1TiB", 1 << 40),
            ("2G", 2 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "GB",
            "10",
            "-1GB",
            "+1GB",
            "0GB",
            "1.5GB",
            "15MB",
            "17TB",
            "10XB",
            "1e3GB",
            "99999999999999999999GB",
            "18446744073709551615TB",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_with_few_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KB"),
            (1536, "1.5 KB"),
            (10 << 30, "10 GB"),
            (u64::MAX, "16777216 TB"),
        ] {
            assert_eq!(show_size(bytes), text);
        }
    }
}
