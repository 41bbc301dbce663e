//! Disks of machines: how much of one stays free, and what a machine says when too little is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de};

/// The share of a file system that stays free unless the operator says otherwise, in percent. It
/// decides on small disks; on large ones it would leave hundreds of gigabytes unused.
const PERCENT_DEFAULT: u8 = 5;
/// The most that stays free unless the operator says otherwise, in bytes: twice what the built-in
/// registry keeps for the database, so that pods go before pushes are refused.
const BYTES_DEFAULT_MAX: u64 = 2 * GIB;
/// The largest share that may be asked for, in percent: images go when its triple is not free.
const PERCENT_MAX: u8 = 25;

const GIB: u64 = 1024 * 1024 * 1024;
/// Units of sizes, large to small.
const UNITS: [(&str, u64); 4] = [
    ("TiB", 1024 * GIB),
    ("GiB", GIB),
    ("MiB", 1024 * 1024),
    ("KiB", 1024),
];

/// How the file systems of a machine are doing, as its agent judges.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// Why the machine takes no new pods for now, in words that stay the same while it lasts: `less
    /// than 8.0 GiB of /var/lib/docker is free`. `None` while there is room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<String>,
}

/// How much of a file system is to stay free. Written as `5%`, `4GiB`, `500MiB`, or `0` for no
/// reserve at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiskReserve {
    /// 5 %, but no more than 2 GiB.
    #[default]
    Usual,
    /// From 1 to 25.
    Percent(u8),
    /// 0 turns the watch over the disk off.
    Bytes(u64),
}

impl DiskReserve {
    /// The reserve of a file system of this size, in bytes.
    pub fn of(self, total_bytes: u64) -> u64 {
        let percent = |percent: u8| total_bytes / 100 * u64::from(percent);
        match self {
            Self::Usual => percent(PERCENT_DEFAULT).min(BYTES_DEFAULT_MAX),
            Self::Percent(share) => percent(share),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// False if the operator wants no watch over the disk.
    pub fn is_on(self) -> bool {
        self != Self::Bytes(0)
    }
}

/// Why a text is no reserve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no amount of disk: write a share from 1% to 25%, or a size as 4GiB or 500MiB, or 0"
)]
pub struct DiskReserveError(String);

impl FromStr for DiskReserve {
    type Err = DiskReserveError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || DiskReserveError(text.to_owned());
        if text == "0" {
            return Ok(Self::Bytes(0));
        }
        if let Some(share) = text.strip_suffix('%') {
            let share = share.trim().parse().map_err(|_| wrong())?;
            let fits = (1..=PERCENT_MAX).contains(&share);
            return fits.then_some(Self::Percent(share)).ok_or_else(wrong);
        }
        let unit = UNITS.iter().find(|(name, _)| text.ends_with(name));
        let (name, factor) = unit.ok_or_else(wrong)?;
        let count: u64 = text[..text.len() - name.len()]
            .trim()
            .parse()
            .map_err(|_| wrong())?;
        let bytes = count.checked_mul(*factor).ok_or_else(wrong)?;
        Ok(Self::Bytes(bytes))
    }
}

impl<'de> Deserialize<'de> for DiskReserve {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// An amount of bytes for people: `4.2 GiB`, `310 MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount(pub u64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= GIB {
            let tenths = self.0 / (GIB / 10);
            return write!(f, "{}.{} GiB", tenths / 10, tenths % 10);
        }
        write!(f, "{} MiB", self.0 / (1024 * 1024))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_read_from_a_share_or_a_size() {
        let table = [
            ("5%", Some(DiskReserve::Percent(5))),
            ("25 %", Some(DiskReserve::Percent(25))),
            ("4GiB", Some(DiskReserve::Bytes(4 * GIB))),
            ("500 MiB", Some(DiskReserve::Bytes(500 << 20))),
            ("0", Some(DiskReserve::Bytes(0))),
            ("0%", None),
            ("26%", None),
            ("-1GiB", None),
            ("4", None),
            ("4GB", None),
            ("GiB", None),
            ("99999999999TiB", None),
            ("", None),
        ];
        for (text, wanted) in table {
            assert_eq!(text.parse().ok(), wanted, "{text:?}");
        }
        assert!(!DiskReserve::Bytes(0).is_on());
        assert!(DiskReserve::Usual.is_on());
    }

    #[test]
    fn the_usual_reserve_is_a_share_of_small_disks_and_no_more_than_2_gib() {
        let table = [(10, 512 << 20), (100, 2 * GIB), (4_000, 2 * GIB)];
        for (gib, reserve) in table {
            let of = DiskReserve::Usual.of(gib * GIB);
            assert!(of.abs_diff(reserve) < 1 << 20, "{gib} GiB: {of}");
        }
    }

    #[test]
    fn amounts_are_short() {
        assert_eq!(Amount(5 * GIB / 2).to_string(), "2.5 GiB");
        assert_eq!(Amount(310 << 20).to_string(), "310 MiB");
    }
}
