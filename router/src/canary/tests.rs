use proptest::prelude::*;

use super::*;

proptest! {
    /// In the long run the canary gets its share, whatever that is.
    #[test]
    fn shares_come_out_right(percent in 1_u8..100, seed: u32) {
        const REQUESTS: u32 = 100_000;
        // A full-period sequence: each number as likely as any other.
        let mut random = seed;
        let chosen = (0..REQUESTS).filter(|_| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            is_chosen(percent, random)
        });
        let share = chosen.count() as f64 / f64::from(REQUESTS) * 100.0;
        prop_assert!((share - f64::from(percent)).abs() < 1.0, "{share} for {percent}");
    }
}

#[test]
fn the_ends_belong_to_the_right_side() {
    assert!(is_chosen(1, 0));
    assert!(!is_chosen(99, u32::MAX));
    assert!(is_chosen(100, u32::MAX));
    assert!(!is_chosen(0, 0));
}

#[test]
fn tries_are_counted_by_outcome_and_time() {
    let sides = Sides::new(3);
    for (millis, is_error) in [
        (0, false),
        (5, false),
        (6, false),
        (700, true),
        (99_999, false),
    ] {
        sides
            .canary
            .answered(Duration::from_millis(millis), is_error);
    }
    sides.canary.failed();
    let tally = sides.tally();
    assert_eq!(
        (tally.step, tally.canary.requests, tally.canary.errors),
        (3, 6, 2)
    );
    assert_eq!(
        tally.canary.latencies[0], 2,
        "a bound belongs to its bucket"
    );
    assert_eq!(tally.canary.latencies[1], 1);
    assert_eq!(tally.canary.latencies[LATENCY_BUCKETS - 1], 1);
    assert_eq!(tally.stable, Tally::default());
}
