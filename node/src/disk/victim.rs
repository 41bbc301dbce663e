//! Which pod goes when the disk is nearly full. Pure.

use std::cmp::Reverse;

use fairway_api::{ids::PodId, placement::Priority};

/// A pod that wrote less than this is not worth ending, in bytes: what it leaves is gone again
/// before the next look.
const WORTH_BYTES_MIN: u64 = 16 * 1024 * 1024;

/// A pod that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) pod: PodId,
    /// What it wrote, in bytes.
    pub(super) written: u64,
    /// What it may write.
    pub(super) budget: Option<u64>,
    pub(super) priority: Priority,
}

impl Candidate {
    fn is_over(&self) -> bool {
        self.budget.is_some_and(|budget| self.written > budget)
    }
}

/// The one to end: who is over its budget goes before who is not, then the lowest priority, then who
/// wrote most. `None` if no end would win anything.
pub(super) fn choose(candidates: impl Iterator<Item = Candidate>) -> Option<Candidate> {
    candidates
        .filter(|it| it.written >= WORTH_BYTES_MIN)
        .min_by_key(|it| (!it.is_over(), it.priority, Reverse(it.written), it.pod))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn candidate(pod: u128, written: u64, budget: u64, priority: Priority) -> Candidate {
        Candidate {
            pod: PodId::from_u128(pod),
            written: written * MIB,
            budget: Some(budget * MIB),
            priority,
        }
    }

    #[test]
    fn who_goes_first() {
        use Priority::{High, Low, Normal};
        // Why, the pods as (written, budget, priority), and which goes.
        type Row = (&'static str, &'static [(u64, u64, Priority)], Option<u128>);
        let table: [Row; 6] = [
            ("nobody is there", &[], None),
            (
                "nothing is to be won",
                &[(15, 100, Low), (0, 100, Low)],
                None,
            ),
            (
                "over its budget",
                &[(500, 600, Low), (20, 10, High)],
                Some(1),
            ),
            (
                "lowest priority",
                &[(500, 600, Normal), (20, 600, Low)],
                Some(1),
            ),
            (
                "wrote most",
                &[(50, 600, Normal), (60, 600, Normal)],
                Some(1),
            ),
            (
                "the older of equals",
                &[(50, 600, Normal), (50, 600, Normal)],
                Some(0),
            ),
        ];
        for (why, pods, wanted) in table {
            let pods = (0..).zip(pods);
            let pods = pods.map(|(pod, &(written, budget, priority))| {
                candidate(pod, written, budget, priority)
            });
            let goes = choose(pods).map(|it| it.pod);
            assert_eq!(goes, wanted.map(PodId::from_u128), "{why}");
        }
    }

    proptest! {
        #[test]
        fn nobody_within_its_budget_goes_before_one_that_is_not_or_is_worth_less(
            pods in vec((0..100_u64, 1..100_u64, 0..3_u8), 0..12)
        ) {
            let priority = |n| [Priority::Low, Priority::Normal, Priority::High][usize::from(n)];
            let pods: Vec<Candidate> = (0..)
                .zip(pods)
                .map(|(pod, (written, budget, n))| candidate(pod, written, budget, priority(n)))
                .collect();
            let goes = choose(pods.iter().copied());
            let worth = |it: &&Candidate| it.written >= WORTH_BYTES_MIN;
            prop_assert_eq!(goes.is_some(), pods.iter().any(|it| worth(&it)));
            for other in goes.iter().flat_map(|_| pods.iter().filter(worth)) {
                let goes = goes.unwrap();
                prop_assert!(goes.is_over() || !other.is_over());
                prop_assert!(goes.is_over() != other.is_over() || goes.priority <= other.priority);
            }
        }
    }
}
