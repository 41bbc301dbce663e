use std::{collections::BTreeMap, time::Duration};

use fairway_api::{
    ids::{AppId, PodId},
    metrics::PodUsage,
    routes::{Tally, Traffic},
};
use tokio::time::Instant;

use super::Metrics;

const APP: AppId = AppId::from_u128(1);

fn totals(requests: u64, open: u32, open_ms: u64) -> BTreeMap<AppId, Traffic> {
    let mut tally = Tally {
        requests,
        ..Tally::default()
    };
    tally.latencies[3] = requests;
    let held = 0;
    [(
        APP,
        Traffic {
            tally,
            open,
            held,
            open_ms,
        },
    )]
    .into()
}

struct Clock(Instant);

impl Clock {
    fn after(&self, secs: u64) -> Instant {
        self.0 + Duration::from_secs(secs)
    }
}

#[test]
fn requests_of_all_routers_are_counted_once_also_when_one_starts_anew() {
    let (metrics, clock) = (Metrics::default(), Clock(Instant::now()));
    let router = |name: &str| name.parse().unwrap();
    assert_eq!(
        metrics.requests(APP, clock.after(0)),
        None,
        "nobody has told"
    );
    for step in 0..=12 {
        let now = clock.after(step * 5);
        // 10 requests a second at the first, and one that is always open.
        metrics.traffic(router("one"), totals(step * 50, 1, step * 5_000), now);
        // 4 a second at the second, which restarts half-way.
        let since = if step < 6 { step } else { step - 6 };
        metrics.traffic(router("two"), totals(since * 20, 0, 0), now);
        metrics.sample(now);
    }
    let seen = metrics.requests(APP, clock.after(60)).unwrap();
    assert!((seen.rps - 14.0).abs() < 0.1, "{seen:?}");
    assert!((seen.open - 1.0).abs() < 0.01, "{seen:?}");
    assert!(!seen.is_idle());
    let p95 = seen.p95_ms.unwrap();
    assert!((20.0..40.0).contains(&p95), "{p95}");
    assert_eq!(metrics.history(APP).len(), 12);
    // A router that falls silent may go on with requests; later it counts as gone.
    metrics.traffic(router("one"), BTreeMap::new(), clock.after(75));
    assert_eq!(metrics.requests(APP, clock.after(76)), None);
}

#[test]
fn an_app_without_news_is_idle_and_then_forgotten() {
    let (metrics, clock) = (Metrics::default(), Clock(Instant::now()));
    let router = || "one".parse().unwrap();
    metrics.traffic(router(), totals(10, 0, 100), clock.after(0));
    let mut idle_at = None;
    for step in 1..90 {
        let now = clock.after(step * 5);
        metrics.traffic(router(), BTreeMap::new(), now);
        metrics.sample(now);
        if metrics.requests(APP, now).is_some_and(|it| it.is_idle()) {
            idle_at = idle_at.or(Some(step * 5));
        }
    }
    assert!(matches!(idle_at, Some(15..=25)), "{idle_at:?}");
    assert!(metrics.history(APP).is_empty());
    // What it counts on from is still known: nothing is counted twice.
    metrics.traffic(router(), totals(12, 0, 120), clock.after(455));
    metrics.sample(clock.after(455));
    let seen = metrics.requests(APP, clock.after(455)).unwrap();
    assert!(seen.rps < 0.2, "{seen:?}");
}

#[test]
fn what_a_pod_uses_is_averaged_and_ends_with_its_reports() {
    let (metrics, clock) = (Metrics::default(), Clock(Instant::now()));
    let pod = PodId::from_u128(7);
    for (at, cpu_millis) in [(0, 900), (5, 100), (10, 300), (20, 200)] {
        let usage = PodUsage {
            pod,
            cpu_millis,
            memory_bytes: 1_000,
        };
        metrics.usage(vec![usage], clock.after(at));
    }
    assert_eq!(metrics.used(pod), Some((200.0, 1_000.0)));
    metrics.sample(clock.after(60));
    assert_eq!(metrics.used(pod), None);
}
