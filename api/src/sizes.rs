//! Sizes of pods (Platform API: `dyno-size`): what one pod may use.

use serde::{Deserialize, Serialize};

use crate::names::SizeName;

/// The size that a process type has until somebody changes it.
pub const SIZE_DEFAULT: &str = "standard-1x";

/// What one pod may use. Units are part of the names.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Resources {
    /// Memory without swap, in bytes; past it the kernel kills the pod and the exit says OOM.
    pub memory_bytes: u64,
    /// CPU time in thousandths of a core.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub pids: u32,
}

impl Resources {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
            pids: self.pids.saturating_add(other.pids),
        }
    }

    /// So many of it.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self {
            memory_bytes: self.memory_bytes.saturating_mul(count.into()),
            cpu_millis: self.cpu_millis.saturating_mul(count),
            pids: self.pids.saturating_mul(count),
        }
    }
}

/// A size by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    pub name: SizeName,
    pub resources: Resources,
    /// What one pod may write to its own file system, in bytes; more, and its agent ends it. Not
    /// promised on machines: it is a ceiling that few pods come near, and a machine that runs out
    /// of disk all the same says so.
    pub disk_bytes: u64,
}

const MIB: u64 = 1024 * 1024;

const GIB: u64 = 1024 * MIB;

/// A name, memory in MiB, CPU in thousandths of a core, processes, and disk in GiB.
type Row = (&'static str, u64, u32, u32, u64);

/// All of them, small to large.
const SIZES: [Row; 6] = [
    ("nano", 128, 250, 128, 1),
    ("eco", 256, 500, 256, 2),
    ("standard-1x", 512, 1_000, 512, 4),
    ("standard-2x", 1_024, 2_000, 1_024, 8),
    ("performance-m", 2_560, 4_000, 4_096, 16),
    ("performance-l", 14_336, 8_000, 16_384, 32),
];

/// All sizes, small to large.
pub fn all() -> Vec<Size> {
    SIZES.iter().map(|&row| size(row)).collect()
}

/// The size of this name, letter case ignored (Heroku writes `Standard-1X`).
pub fn find(name: &str) -> Option<Size> {
    SIZES
        .iter()
        .find(|row| row.0.eq_ignore_ascii_case(name))
        .map(|&row| size(row))
}

fn size((name, memory_mib, cpu_millis, pids, disk_gib): Row) -> Size {
    Size {
        name: SizeName::try_from(name.to_owned()).expect("the table holds valid names"),
        resources: Resources {
            memory_bytes: memory_mib * MIB,
            cpu_millis,
            pids,
        },
        disk_bytes: disk_gib * GIB,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_default_is_in_the_table_and_case_does_not_matter() {
        assert!(super::find(super::SIZE_DEFAULT).is_some());
        assert_eq!(super::find("Standard-1X"), super::find("standard-1x"));
        assert_eq!(super::all().len(), super::SIZES.len());
    }
}
