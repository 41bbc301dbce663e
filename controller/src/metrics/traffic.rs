//! The requests of one app: totals of all routers, and what they were a moment ago.

use std::collections::VecDeque;

use fairway_api::routes::{self, LATENCY_BOUNDS_MS, LATENCY_BUCKETS, Tally};
use tokio::time::Instant;

use super::WINDOW;

/// The share of requests that the latency is told for.
const QUANTILE: f64 = 0.95;

/// Totals since the app was first heard of.
#[derive(Debug, Clone, Default)]
struct Totals {
    tally: Tally,
    open_ms: u64,
}

/// The requests of one app.
#[derive(Debug)]
pub(super) struct AppTraffic {
    totals: Totals,
    /// Totals at moments, oldest first; the first is a window old, or as old as the app.
    samples: VecDeque<(Instant, Totals)>,
}

/// What happened over the last window.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) rps: f64,
    pub(super) open: f64,
    pub(super) p95_ms: Option<f64>,
    errors: f64,
}

impl AppTraffic {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            totals: Totals::default(),
            samples: VecDeque::from([(now.checked_sub(WINDOW).unwrap_or(now), Totals::default())]),
        }
    }

    /// Adds what a router counted between two reports. One whose counts fell has started anew.
    pub(super) fn add(&mut self, before: Option<&routes::Traffic>, now: &routes::Traffic) {
        let fell = |before: &&routes::Traffic| {
            before.tally.requests > now.tally.requests || before.open_ms > now.open_ms
        };
        let nothing = routes::Traffic::default();
        let before = before.filter(|it| !fell(it)).unwrap_or(&nothing);
        let more = |new: u64, old: u64| new.saturating_sub(old);
        self.totals.tally.add(&Tally {
            requests: more(now.tally.requests, before.tally.requests),
            errors: more(now.tally.errors, before.tally.errors),
            latencies: std::array::from_fn(|bucket| {
                more(now.tally.latencies[bucket], before.tally.latencies[bucket])
            }),
        });
        self.totals.open_ms += more(now.open_ms, before.open_ms);
    }

    /// Notes the totals of this moment.
    pub(super) fn sample(&mut self, now: Instant) {
        self.samples.push_back((now, self.totals.clone()));
        // The first is the newest of those that are old enough.
        while self
            .samples
            .get(1)
            .is_some_and(|(at, _)| now - *at >= WINDOW)
        {
            self.samples.pop_front();
        }
    }

    /// False when nothing has happened for a while.
    pub(super) fn is_news(&self, now: Instant) -> bool {
        let Some((at, first)) = self.samples.front() else {
            return false;
        };
        now - *at < WINDOW
            || first.tally.requests != self.totals.tally.requests
            || first.open_ms != self.totals.open_ms
    }

    /// What happened over the last window.
    pub(super) fn counted(&self, now: Instant) -> Counted {
        let Some((at, first)) = self.samples.front() else {
            return Counted::default();
        };
        let secs = (now - *at).as_secs_f64().max(1.0);
        let (new, old) = (&self.totals.tally, &first.tally);
        let latencies = std::array::from_fn(|bucket| new.latencies[bucket] - old.latencies[bucket]);
        Counted {
            rps: (new.requests - old.requests) as f64 / secs,
            open: (self.totals.open_ms - first.open_ms) as f64 / 1_000.0 / secs,
            p95_ms: quantile(&latencies, QUANTILE),
            errors: (new.errors - old.errors) as f64 / secs,
        }
    }
}

impl Counted {
    pub(super) fn errors_per_sec(&self) -> f64 {
        self.errors
    }
}

/// The latency that this share of all requests stays below, in milliseconds: evenly spread within a
/// bucket, as Prometheus takes it. `None` without requests.
fn quantile(latencies: &[u64; LATENCY_BUCKETS], share: f64) -> Option<f64> {
    let all: u64 = latencies.iter().sum();
    if all == 0 {
        return None;
    }
    let rank = share * all as f64;
    let mut below = 0.0;
    let mut lower = 0.0;
    for (bucket, bound) in LATENCY_BOUNDS_MS.iter().enumerate() {
        let (count, upper) = (latencies[bucket] as f64, f64::from(*bound));
        if count > 0.0 && below + count >= rank {
            return Some(lower + (upper - lower) * ((rank - below) / count));
        }
        below += count;
        lower = upper;
    }
    // Beyond the last bound nobody knows how far.
    Some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_where_its_requests_do() {
        let of = |counts: &[(usize, u64)]| {
            let mut latencies = [0; LATENCY_BUCKETS];
            for (bucket, count) in counts {
                latencies[*bucket] = *count;
            }
            quantile(&latencies, 0.95)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(0, 100)]), Some(4.75));
        // 10 of 100 in 160..320 ms: the 95th is half-way.
        assert_eq!(of(&[(0, 90), (6, 10)]), Some(240.0));
        assert_eq!(of(&[(LATENCY_BUCKETS - 1, 1)]), Some(10_240.0));
    }
}
