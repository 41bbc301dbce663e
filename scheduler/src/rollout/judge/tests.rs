use fairway_api::routes::LATENCY_BUCKETS;
use proptest::prelude::*;

use super::*;

/// So many requests, of which so many failed, all within this bucket.
fn tally(requests: u64, errors: u64, bucket: usize) -> Tally {
    let mut latencies = [0; LATENCY_BUCKETS];
    latencies[bucket] = requests;
    Tally {
        requests,
        errors,
        latencies,
    }
}

fn verdict(stable: Tally, canary: Tally) -> Verdict {
    let tally = CanaryTally {
        step: 0,
        stable,
        canary,
    };
    judge(&tally, &CanaryLimits::default())
}

#[test]
fn errors_are_held_against_those_of_the_others() {
    for (stable, canary, is_bad) in [
        // As bad as the others is not worse.
        ((1000, 0), (100, 0), false),
        ((1000, 100), (100, 10), false),
        // One or two may be chance.
        ((1000, 0), (50, 1), false),
        ((1000, 0), (50, 2), false),
        ((1000, 0), (50, 5), true),
        ((1000, 0), (1000, 15), false),
        ((1000, 0), (1000, 30), true),
        ((1000, 500), (1000, 500), false),
        ((1000, 500), (1000, 700), true),
        // All of few, and nobody to compare with.
        ((0, 0), (50, 50), true),
        ((1000, 950), (60, 60), false),
    ] {
        let said = verdict(tally(stable.0, stable.1, 3), tally(canary.0, canary.1, 3));
        assert_eq!(
            matches!(said, Verdict::Bad(_)),
            is_bad,
            "{stable:?} {canary:?}: {said:?}"
        );
    }
}

#[test]
fn too_few_requests_are_no_verdict() {
    assert_eq!(
        verdict(tally(1000, 0, 3), tally(49, 49, 3)),
        Verdict::TooFew
    );
    assert_eq!(verdict(tally(10, 0, 3), tally(500, 0, 9)), Verdict::TooFew);
    assert_eq!(verdict(tally(50, 0, 3), tally(50, 0, 3)), Verdict::Good);
}

#[test]
fn latency_counts_from_a_difference_that_somebody_feels() {
    for (stable, canary, is_bad) in [
        (3, 3, false),
        (3, 4, false),
        (3, 5, true),
        (0, 1, false),
        (12, 12, false),
    ] {
        let said = verdict(tally(200, 0, stable), tally(200, 0, canary));
        assert_eq!(
            matches!(said, Verdict::Bad(_)),
            is_bad,
            "{stable} {canary}: {said:?}"
        );
    }
}

proptest! {
    /// Whoever behaves exactly like the others is never sent back, and more errors never help.
    #[test]
    fn the_judgement_is_fair(requests in 50_u64..100_000, percent in 0_u64..100, more in 0_u64..1000) {
        let errors = requests * percent / 100;
        let same = verdict(tally(requests, errors, 4), tally(requests, errors, 4));
        prop_assert_eq!(&same, &Verdict::Good);
        let worse = verdict(tally(requests, errors, 4), tally(requests, (errors + more).min(requests), 4));
        let worst = verdict(tally(requests, errors, 4), tally(requests, requests, 4));
        if matches!(worse, Verdict::Bad(_)) {
            prop_assert!(matches!(worst, Verdict::Bad(_)));
        }
    }

    #[test]
    fn the_percentile_lies_where_the_answers_are(counts in prop::collection::vec(0_u64..1000, LATENCY_BUCKETS)) {
        let mut tally = Tally::default();
        tally.latencies.copy_from_slice(&counts);
        let found = p95_ms(&tally);
        prop_assert_eq!(found.is_none(), counts.iter().sum::<u64>() == 0);
        if let Some(found) = found {
            prop_assert!((0.0..=20_480.0).contains(&found));
        }
    }
}
