//! The count that each target asks for.

use fairway_api::autoscale::Queue;

use super::{Memory, Situation, TOLERANCE, Traffic, WINDOW_SECS, Waiting, may_sleep, memory::Sign};

/// Latency does not grow with load in proportion, so it is followed in steps: this share of the
/// pods is added while it is too high.
const LATENCY_STEP: f64 = 0.25;
/// A pod is taken away only while latency is below this share of its target.
const LATENCY_LOW: f64 = 0.5;

/// What one target says.
pub(super) struct Proposal {
    /// `None` when nobody can say.
    pub(super) count: Option<u32>,
    pub(super) why: String,
}

/// One proposal per target, and one more for what no target is about.
pub(super) fn all(memory: &mut Memory, situation: &Situation<'_>) -> Vec<Proposal> {
    let policy = situation.policy;
    let mut proposals = Vec::new();
    if policy.min == 0 {
        proposals.push(presence(situation));
    }
    if let Some(target) = policy.cpu {
        let used = situation.seen.pods.iter().map(|pod| pod.cpu).collect();
        proposals.push(utilisation("CPU", used, target, situation));
    }
    if let Some(target) = policy.memory {
        let used = situation.seen.pods.iter().map(|pod| pod.memory).collect();
        proposals.push(utilisation("memory", used, target, situation));
    }
    if let Some(target) = policy.rps {
        let seen = |traffic: Traffic| traffic.rps;
        proposals.push(share("requests per second", seen, target, situation));
    }
    if let Some(target) = policy.concurrency {
        proposals.push(concurrency(memory, target, situation));
    }
    if let Some(queue) = &policy.queue {
        proposals.push(waiting(queue, situation));
    }
    if let Some(target) = policy.p95_ms {
        proposals.push(latency(memory, target, situation));
    }
    if proposals.is_empty() {
        let why = format!("at least {}", policy.min);
        proposals.push(known(policy.min, why));
    }
    proposals
}

fn known(count: u32, why: String) -> Proposal {
    Proposal {
        count: Some(count),
        why,
    }
}

fn unknown(why: String) -> Proposal {
    Proposal { count: None, why }
}

/// One pod as long as there is a request.
fn presence(situation: &Situation<'_>) -> Proposal {
    let sleeps = may_sleep(situation);
    match situation.seen.traffic {
        _ if !situation.is_web => known(u32::from(!sleeps), "one while jobs wait".into()),
        None => unknown("requests are not known".into()),
        Some(_) if sleeps => known(0, "no requests".into()),
        Some(_) => known(1, "there are requests".into()),
    }
}

/// For jobs that wait, divided among the pods.
pub(super) fn waiting(queue: &Queue, situation: &Situation<'_>) -> Proposal {
    let jobs = match &situation.seen.queue {
        Waiting::Jobs(jobs) => *jobs,
        Waiting::Unknown(why) => return unknown(format!("the queue is not known: {why}")),
    };
    let (quantity, target) = (situation.quantity, f64::from(queue.target));
    let why = format!("{jobs:.0} jobs wait, target {target:.0} per pod");
    if quantity > 0 && is_on_target(jobs / f64::from(quantity) / target) {
        return known(quantity, why);
    }
    known(whole(jobs / target), why)
}

/// For what is measured at each pod. Pods that were not measured, since they have just started or
/// since their machine is silent, are counted as idle before some are added, and as on target
/// before some are taken away.
fn utilisation(what: &str, used: Vec<f64>, target: u32, situation: &Situation<'_>) -> Proposal {
    let quantity = situation.quantity;
    let measured = used.iter().filter(|used| used.is_finite()).count();
    if measured == 0 {
        return unknown(format!("{what} is not known"));
    }
    let sum: f64 = used.iter().filter(|used| used.is_finite()).sum();
    let mean = sum / measured as f64;
    let why = format!("{mean:.0} % {what} per pod, target {target} %");
    if may_sleep(situation) {
        return known(0, why);
    }
    let target = f64::from(target);
    let unmeasured =
        f64::from(quantity.saturating_sub(u32::try_from(measured).unwrap_or(u32::MAX)));
    let (sum, pods) = match mean > target {
        true => (sum, measured as f64 + unmeasured),
        false => (sum + unmeasured * target, measured as f64 + unmeasured),
    };
    let ratio = sum / pods / target;
    // What the unmeasured ones may do must not turn up into down, nor down into up.
    let turned = (mean > target) != (ratio > 1.0);
    if turned || is_on_target(ratio) {
        return known(quantity, why);
    }
    known(whole(ratio * pods), why)
}

/// For what is measured in all and divided among the pods.
fn share(
    what: &str,
    seen: impl Fn(Traffic) -> f64,
    target: u32,
    situation: &Situation<'_>,
) -> Proposal {
    let Some(traffic) = situation.seen.traffic else {
        return unknown(format!("{what}: not known"));
    };
    let quantity = situation.quantity;
    let total = seen(traffic);
    let per_pod = total / f64::from(quantity.max(1));
    let why = format!("{per_pod:.1} {what} per pod, target {target}");
    if is_on_target(per_pod / f64::from(target)) {
        return known(quantity, why);
    }
    known(whole(total / f64::from(target)), why)
}

/// For open requests. Where pods come to their limit, they pile up faster than the load grows.
fn concurrency(memory: &mut Memory, target: u32, situation: &Situation<'_>) -> Proposal {
    let seen = |traffic: Traffic| traffic.open;
    let mut proposal = share("open requests", seen, target, situation);
    if let (Some(count), Some(traffic)) = (&mut proposal.count, situation.seen.traffic) {
        let quantity = situation.quantity;
        if *count > quantity {
            let per_pod = traffic.rps / f64::from(situation.up.max(1));
            memory.overloaded(Sign::OpenRequests, per_pod, situation.now);
        } else {
            let bearable = memory.bearable(Sign::OpenRequests, traffic.rps, situation.now);
            *count = (*count).max(bearable.min(quantity));
        }
    }
    proposal
}

/// For latency.
fn latency(memory: &mut Memory, target: u32, situation: &Situation<'_>) -> Proposal {
    let quantity = situation.quantity;
    let Some(traffic) = situation.seen.traffic else {
        return unknown("latency is not known".into());
    };
    let Some(p95) = traffic.p95_ms else {
        let count = if traffic.is_idle() { 0 } else { quantity };
        return known(count, "no requests".into());
    };
    let why = format!("p95 {p95:.0} ms, target {target} ms");
    let target = f64::from(target);
    // Pods that have just come have not changed it yet.
    let settled = situation.up >= quantity && memory.is_settled(WINDOW_SECS, situation.now);
    if p95 > target * (1.0 + TOLERANCE) {
        let per_pod = traffic.rps / f64::from(situation.up.max(1));
        memory.overloaded(Sign::Latency, per_pod, situation.now);
        let step = whole(f64::from(quantity) * LATENCY_STEP).max(1);
        let more = if settled { step } else { 0 };
        return known(quantity.saturating_add(more), why);
    }
    let fewer = quantity.saturating_sub(1).max(1);
    let bears = memory.bearable(Sign::Latency, traffic.rps, situation.now) <= fewer;
    let down = settled && p95 < target * LATENCY_LOW && bears;
    known(if down { fewer } else { quantity }, why)
}

fn is_on_target(ratio: f64) -> bool {
    (ratio - 1.0).abs() <= TOLERANCE
}

/// The next whole number of pods. What is a hair above one comes from the sums.
pub(super) fn whole(pods: f64) -> u32 {
    (pods - 1e-6).ceil().clamp(0.0, f64::from(u32::MAX)) as u32
}
