//! The judgement on a canary: its requests against those of the pods that serve beside it. Pure
//! arithmetic on counts, without a clock.

use fairway_api::{
    deployments::CanaryLimits,
    routes::{CanaryTally, LATENCY_BOUNDS_MS, Tally},
};

/// A difference between two 95th percentiles below this, in milliseconds, is nobody's business,
/// were it a multiple.
const LATENCY_NOISE_MS: f64 = 25.0;
/// How many standard deviations above what is allowed the errors must be. A canary is judged again
/// with every report: at two, one in forty of these would send an honest one back.
const DEVIATIONS: f64 = 3.0;

/// What the counts say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Fewer requests than the minimum.
    TooFew,
    Good,
    /// Why it is worse, in one sentence without full stop.
    Bad(String),
}

/// Judges the counts of one step, all routers together.
pub fn judge(tally: &CanaryTally, limits: &CanaryLimits) -> Verdict {
    let (stable, canary) = (&tally.stable, &tally.canary);
    let enough = |tally: &Tally| tally.requests >= u64::from(limits.requests_min.max(1));
    if !enough(canary) {
        return Verdict::TooFew;
    }
    if let Some(why) = more_errors(stable, canary, limits) {
        return Verdict::Bad(why);
    }
    // Without enough requests to compare with there is no telling how long they should take.
    if !enough(stable) {
        return Verdict::TooFew;
    }
    slower(stable, canary, limits).map_or(Verdict::Good, Verdict::Bad)
}

/// Errors beyond the others' rate, the limit and what chance explains.
fn more_errors(stable: &Tally, canary: &Tally, limits: &CanaryLimits) -> Option<String> {
    let (rate, others) = (error_rate(canary), error_rate(stable));
    let allowed = others + f64::from(limits.errors_percent) / 100.0;
    let expected = canary.requests as f64 * allowed;
    let deviation = (expected * (1.0 - allowed).max(0.0)).sqrt();
    let most = expected + DEVIATIONS * deviation.max(1.0);
    (rate > allowed && canary.errors as f64 > most).then(|| {
        format!(
            "{:.1}% of its {} requests failed, against {:.1}% of the others",
            rate * 100.0,
            canary.requests,
            others * 100.0
        )
    })
}

fn slower(stable: &Tally, canary: &Tally, limits: &CanaryLimits) -> Option<String> {
    let (its, others) = (p95_ms(canary)?, p95_ms(stable)?);
    let most = others * (1.0 + f64::from(limits.slower_percent) / 100.0);
    (its > most && its - others > LATENCY_NOISE_MS).then(|| {
        format!("95% of its requests were answered within {its:.0} ms, of the others within {others:.0} ms")
    })
}

/// Failed requests as a share from 0 to 1.
pub fn error_rate(tally: &Tally) -> f64 {
    if tally.requests == 0 {
        return 0.0;
    }
    tally.errors.min(tally.requests) as f64 / tally.requests as f64
}

/// The time within which 95 % were answered, in milliseconds, as near as the buckets tell; `None`
/// without any answer.
pub fn p95_ms(tally: &Tally) -> Option<f64> {
    let all: u64 = tally.latencies.iter().sum();
    if all == 0 {
        return None;
    }
    let rank = all as f64 * 0.95;
    let mut before = 0.0;
    let mut from = 0.0;
    for (index, &count) in tally.latencies.iter().enumerate() {
        // Above the last bound nothing more is known than that.
        let to = LATENCY_BOUNDS_MS
            .get(index)
            .map_or(from * 2.0, |&to| f64::from(to));
        let count = count as f64;
        if count > 0.0 && before + count >= rank {
            return Some(from + (to - from) * (rank - before) / count);
        }
        before += count;
        from = to;
    }
    Some(from)
}

#[cfg(test)]
mod tests;
