//! How long to wait before the next try: pure.

use std::time::Duration;

/// Pause after the first crash, in seconds: long enough that a crash loop does not eat a core.
const FIRST_SECS: u64 = 1;
/// The longest pause, in seconds: a pod whose database is back should not wait much longer.
const LONGEST_SECS: u64 = 300;
/// A run this long, in seconds, counts as healthy: the next crash is a first one again.
pub(crate) const HEALTHY_RUN_SECS: i64 = 600;

/// The pause after the `crashes`-th crash in a row, counted from 1: doubling from one second to
/// five minutes.
pub(crate) fn pause(crashes: u32) -> Duration {
    let doublings = crashes.saturating_sub(1).min(u64::BITS - 1);
    Duration::from_secs(FIRST_SECS.saturating_mul(1 << doublings).min(LONGEST_SECS))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{LONGEST_SECS, pause};

    #[test]
    fn it_doubles_from_one_second_to_five_minutes() {
        let seconds: Vec<u64> = (0..=11).map(|crashes| pause(crashes).as_secs()).collect();
        assert_eq!(seconds, [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    proptest! {
        #[test]
        fn it_never_shrinks_and_never_passes_its_limit(crashes in any::<u32>()) {
            prop_assert!(pause(crashes) <= pause(crashes.saturating_add(1)));
            prop_assert!(pause(crashes).as_secs() <= LONGEST_SECS);
        }
    }
}
