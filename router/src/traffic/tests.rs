use std::time::{Duration, Instant};

use fairway_api::ids::AppId;

use super::{HELD_PER_APP_MAX, Meters};

const APP: AppId = AppId::from_u128(1);

#[test]
fn each_request_counts_once_and_as_long_as_it_is_open() {
    let meters = Meters::new();
    let meter = meters.of(APP);
    let Some(long_ago) = Instant::now().checked_sub(Duration::from_millis(30)) else {
        return;
    };
    let mut answered = meter.begin(long_ago);
    let mut failed = meter.begin(Instant::now());
    let left = meter.begin(Instant::now());
    answered.answered(false);
    failed.failed(true);
    drop((failed, left));
    let seen = meters.report();
    let traffic = &seen[&APP];
    assert_eq!((traffic.open, traffic.held), (1, 0));
    assert_eq!((traffic.tally.requests, traffic.tally.errors), (3, 1));
    assert_eq!(traffic.tally.latencies.iter().sum::<u64>(), 1);
    drop(answered);
    let ended = meters.report()[&APP].clone();
    assert_eq!((ended.open, ended.tally.requests), (0, 3));
    assert!(ended.open_ms < 10_000, "{ended:?}");
    // Nothing has happened since.
    assert!(meters.report().is_empty());
}

#[test]
fn places_to_wait_are_limited_and_come_back() {
    let meters = Meters::new();
    let meter = meters.of(APP);
    let held: Vec<_> = (0..HELD_PER_APP_MAX)
        .map(|_| meter.hold().unwrap())
        .collect();
    assert!(meter.hold().is_none());
    assert_eq!(meters.asleep().into_iter().collect::<Vec<_>>(), [APP]);
    assert_eq!(meters.report()[&APP].held, HELD_PER_APP_MAX);
    drop(held);
    assert!(meters.asleep().is_empty());
    assert!(meter.hold().is_some());
}
