//! How full a file system is: levels with a margin between entering and leaving one. Pure.

use std::path::Path;

use fairway_api::disk::{Amount, DiskReserve};

/// The share of the files that a file system can hold, in percent, that counts as the reserve
/// counts for bytes. Small: file systems have a hundred times more than they use.
const FILES_PERCENT: u64 = 2;

/// What a file system has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    /// In bytes.
    pub(super) total: u64,
    pub(super) free: u64,
    /// How many files it can hold; 0 if it does not count them.
    pub(super) files: u64,
    pub(super) files_free: u64,
}

/// How short of disk a machine is; each level does all that the ones below do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    #[default]
    Roomy,
    /// Images that nothing needs go at once, and so do dead containers.
    Short,
    /// No new pods, and images for rollbacks go too.
    Pressed,
    /// Pods end, one after the other.
    Full,
}

/// What is free at each level, in halves of the reserve: it is entered below the first number, and
/// left from the second on, so that what is won lasts a while.
const STEPS: [(Level, u64, u64); 3] = [
    (Level::Full, 2, 3),
    (Level::Pressed, 4, 5),
    (Level::Short, 6, 8),
];

impl Level {
    /// The level after this one when so much is free.
    fn next(self, free: u64, reserve: u64) -> Self {
        let below = |halves: u64| u128::from(free) * 2 < u128::from(reserve) * u128::from(halves);
        let holds = |(level, enter, leave): &(Self, u64, u64)| {
            below(if self >= *level { *leave } else { *enter })
        };
        STEPS
            .iter()
            .find(|step| holds(step))
            .map_or(Self::Roomy, |(level, _, _)| *level)
    }
}

/// One file system over time.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    bytes: Level,
    files: Level,
    /// The reserve of bytes when it was last looked at.
    reserve: u64,
}

impl Gauge {
    /// Takes in what was seen; the level from now on.
    pub(super) fn note(&mut self, space: &Space, reserve: DiskReserve) -> Level {
        self.reserve = reserve.of(space.total);
        self.bytes = self.bytes.next(space.free, self.reserve);
        let files = space.files / 100 * FILES_PERCENT;
        self.files = self.files.next(space.files_free, files);
        self.level()
    }

    pub(super) fn level(&self) -> Level {
        self.bytes.max(self.files)
    }

    /// Why the machine takes no pods, if it does not. The words do not change from look to look.
    pub(super) fn pressure(&self, path: &Path) -> Option<String> {
        let path = path.display();
        if self.bytes >= Level::Pressed {
            let less = Amount(self.reserve.saturating_mul(2));
            return Some(format!("less than {less} of {path} is free"));
        }
        (self.files >= Level::Pressed).then(|| {
            let less = FILES_PERCENT * 2;
            format!("less than {less} % of the files that {path} can hold are free")
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RESERVE: u64 = 100;

    #[test]
    fn levels_are_entered_low_and_left_high() {
        use Level::{Full, Pressed, Roomy, Short};
        // Level before, free in percent of the reserve, level after.
        let table = [
            (Roomy, 300, Roomy),
            (Roomy, 299, Short),
            (Short, 399, Short),
            (Short, 400, Roomy),
            (Short, 199, Pressed),
            (Pressed, 249, Pressed),
            (Pressed, 250, Short),
            (Pressed, 99, Full),
            (Full, 149, Full),
            (Full, 150, Pressed),
            (Full, 400, Roomy),
            (Roomy, 0, Full),
        ];
        for (before, free, after) in table {
            assert_eq!(before.next(free, RESERVE), after, "{before} at {free}");
        }
    }

    #[test]
    fn bytes_and_files_count_and_the_words_stay() {
        let space = |free, files, files_free| Space {
            total: 1 << 40,
            free,
            files,
            files_free,
        };
        let gib = 1 << 30;
        let reserve = DiskReserve::Bytes(4 * gib);
        let mut gauge = Gauge::default();
        let path = Path::new("/var/lib/docker");
        assert_eq!(gauge.note(&space(100 * gib, 0, 0), reserve), Level::Roomy);
        assert_eq!(gauge.pressure(path), None);
        let told = "less than 8.0 GiB of /var/lib/docker is free";
        for free in [7 * gib, 5 * gib, gib, 9 * gib] {
            assert!(gauge.note(&space(free, 0, 0), reserve) >= Level::Pressed);
            assert_eq!(gauge.pressure(path).as_deref(), Some(told));
        }
        let files = space(100 * gib, 10_000, 390);
        assert_eq!(gauge.note(&files, reserve), Level::Pressed);
        assert!(gauge.pressure(path).unwrap().contains("4 % of the files"));
    }

    proptest! {
        /// A little more or less does not go back and forth: from a level, what entered it does not
        /// leave it, and no level is left for one below while less is free than before.
        #[test]
        fn less_free_never_means_a_lower_level(free in 0_u64..500, less in 0_u64..500) {
            let level = Level::Roomy.next(free, RESERVE);
            prop_assert_eq!(level.next(free, RESERVE), level);
            prop_assert!(level.next(free.saturating_sub(less), RESERVE) >= level);
            // From any level, the same amount free comes to rest at once.
            for before in [Level::Roomy, Level::Short, Level::Pressed, Level::Full] {
                let after = before.next(free, RESERVE);
                prop_assert_eq!(after.next(free, RESERVE), after);
            }
        }
    }
}
