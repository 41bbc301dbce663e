//! Which pod gets a request: the one with fewer requests in flight of two picked at random. Pure
//! given the random numbers.
//!
//! Two random choices come close to "the least loaded of all" without every worker running to the
//! same pod at the same moment.

use std::sync::Arc;

use fairway_api::ids::PodId;

use crate::{
    canary,
    table::{Endpoint, Service},
};

/// What chance decides about one request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Random {
    /// On which side of a canary it is.
    pub(crate) side: u32,
    pub(crate) pods: (u32, u32),
}

/// Picks a pod of a service. A canary's pods get their share of the requests; if there is none left
/// to try on one side, the other takes the request.
pub(crate) fn pick_of<'a>(
    service: &'a Service,
    tried: &[PodId],
    now_ms: u64,
    random: Random,
) -> Option<&'a Arc<Endpoint>> {
    let pick = |endpoints: &'a [Arc<Endpoint>]| pick(endpoints, tried, now_ms, random.pods);
    let Some(canary) = &service.canary else {
        return pick(&service.endpoints);
    };
    if canary::is_chosen(canary.percent, random.side) {
        pick(&canary.endpoints).or_else(|| pick(&service.endpoints))
    } else {
        pick(&service.endpoints).or_else(|| pick(&canary.endpoints))
    }
}

/// Picks a pod that is neither in `tried` nor ejected at `now_ms`. If all that are left are
/// ejected, one of them is tried anyway: a wrong guess costs one connect, refusing costs the
/// request. `None` when every pod was tried.
fn pick<'a>(
    endpoints: &'a [Arc<Endpoint>],
    tried: &[PodId],
    now_ms: u64,
    random: (u32, u32),
) -> Option<&'a Arc<Endpoint>> {
    let fresh = |endpoint: &&Arc<Endpoint>| !tried.contains(&endpoint.pod);
    let healthy = |endpoint: &&Arc<Endpoint>| fresh(endpoint) && !endpoint.load.is_ejected(now_ms);
    among(endpoints, healthy, random).or_else(|| among(endpoints, fresh, random))
}

fn among<'a>(
    endpoints: &'a [Arc<Endpoint>],
    eligible: impl Fn(&&'a Arc<Endpoint>) -> bool,
    random: (u32, u32),
) -> Option<&'a Arc<Endpoint>> {
    let count = endpoints.iter().filter(&eligible).count();
    let nth = |n: usize| endpoints.iter().filter(&eligible).nth(n);
    if count < 2 {
        return nth(0);
    }
    let first = random.0 as usize % count;
    // From the others only, so that the two always differ.
    let second = (first + 1 + random.1 as usize % (count - 1)) % count;
    let (first, second) = (nth(first)?, nth(second)?);
    Some(if second.load.in_flight() < first.load.in_flight() {
        second
    } else {
        first
    })
}

#[cfg(test)]
mod tests;
