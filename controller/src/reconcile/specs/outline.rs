//! What a machine's orders follow from, in few bytes: to make the orders themselves only to find
//! that they are the same is most of what a pass over many machines would cost.
//!
//! A pod's spec follows from its id, since everything about a pod is fixed when it is made, and from
//! its app's name and priority; which images are kept follows from the release that serves.

use fairway_api::{network::NetworkPlan, volumes::VolumeOrder};
use fairway_scheduler::snapshot::{App, Pod, PodKind};
use sha2::{Digest as _, Sha256};

/// Two equal ones stand for the same orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outline([u8; 32]);

/// The outline of orders to run these pods on this network and to do this with volumes; `None` if they follow from more: what a
/// job's pod does ends with its run.
pub(super) fn of(
    pods: &[(&App, &Pod)],
    network: Option<&NetworkPlan>,
    volumes: &[VolumeOrder],
) -> Option<Outline> {
    let mut text = Vec::new();
    for (app, pod) in pods {
        if pod.kind == PodKind::Job {
            return None;
        }
        text.extend(pod.id.as_uuid().as_bytes());
        let current = app.current.map(|release| *release.as_uuid().as_bytes());
        text.extend(current.unwrap_or_default());
        text.extend(app.name.as_str().as_bytes());
        text.push(0);
        text.extend(serde_json::to_vec(&app.placement(pod).priority).ok()?);
    }
    serde_json::to_writer(&mut text, &(network, volumes)).ok()?;
    Some(Outline(Sha256::digest(&text).into()))
}
