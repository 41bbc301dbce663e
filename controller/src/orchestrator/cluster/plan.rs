//! One machine's orders as they are sent ([`fairway_api::nodes::NodePlan`]), which are kept only until the machine has
//! them: those of a large cluster are hundreds of megabytes, and all but a few are asked for once.
//! What stays is a digest, to tell whether other orders are wanted, and which pods and volumes they
//! name; whoever asks again all the same
//! (an agent whose disk was lost) waits until the reconcile loop has made them again.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use fairway_api::{
    ids::PodId,
    images::{ImageRef, RegistryAccess},
    names::NodeName,
    network::NetworkPlan,
    pods::PodSpec,
    volumes::VolumeOrder,
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{orchestrator::NodeIntent, orders::Order};

/// The orders of one generation.
#[derive(Debug)]
pub struct PlanOrder {
    generation: u64,
    digest: ContentDigest,
    /// What is asked of them while their machine has them.
    brief: Arc<Brief>,
    /// A `NodePlan` as JSON; `None` once its machine has it.
    body: Mutex<Option<Bytes>>,
    /// Somebody has asked for it again.
    wanted: AtomicBool,
}

/// What a machine should run, as JSON.
#[derive(Debug)]
pub(super) struct Content {
    json: Vec<u8>,
    digest: ContentDigest,
    brief: Arc<Brief>,
}

/// What is kept of orders besides their digest.
#[derive(Debug)]
struct Brief {
    pods: HashSet<PodId>,
    volumes: Vec<VolumeOrder>,
}

type ContentDigest = [u8; 32];

/// The part of a `NodePlan` that decides whether there is a new one.
#[derive(Debug, Serialize)]
struct Wanted<'a> {
    pods: &'a [PodSpec],
    keep_images: &'a [ImageRef],
    network: Option<&'a NetworkPlan>,
    volumes: &'a [VolumeOrder],
}

/// The rest of it.
#[derive(Debug, Serialize)]
struct Head<'a> {
    node: &'a NodeName,
    generation: u64,
    registry: &'a RegistryAccess,
}

impl Content {
    pub(super) fn of(intent: &NodeIntent) -> serde_json::Result<Self> {
        let json = serde_json::to_vec(&Wanted {
            pods: &intent.pods,
            keep_images: &intent.keep_images,
            network: intent.network.as_ref(),
            volumes: &intent.volumes,
        })?;
        let digest = Sha256::digest(&json).into();
        let brief = Arc::new(Brief {
            pods: intent.pods.iter().map(|pod| pod.id).collect(),
            volumes: intent.volumes.clone(),
        });
        Ok(Self {
            json,
            digest,
            brief,
        })
    }
}

impl PlanOrder {
    pub(super) fn new(
        node: &NodeName,
        generation: u64,
        registry: &RegistryAccess,
        content: &Content,
    ) -> serde_json::Result<Self> {
        let head = Head {
            node,
            generation,
            registry,
        };
        // Two objects, written as one.
        let mut body = serde_json::to_vec(&head)?;
        body.pop();
        body.push(b',');
        body.extend_from_slice(&content.json[1..]);
        Ok(Self {
            generation,
            digest: content.digest,
            brief: Arc::clone(&content.brief),
            body: Mutex::new(Some(body.into())),
            wanted: AtomicBool::new(false),
        })
    }

    /// True if they name this pod.
    pub fn has_pod(&self, pod: PodId) -> bool {
        self.brief.pods.contains(&pod)
    }

    /// What they say of volumes besides mounting them.
    pub fn volumes(&self) -> &[VolumeOrder] {
        &self.brief.volumes
    }

    /// True if these orders say this.
    pub(super) fn says(&self, content: &Content) -> bool {
        self.digest == content.digest
    }

    /// True if somebody asked for them who cannot be answered.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) && !self.is_at_hand()
    }

    /// A `NodePlan` as JSON; `None` when it has to be made again.
    pub fn body(&self) -> Option<Bytes> {
        self.slot().clone()
    }

    /// The machine has them.
    pub fn delivered(&self) {
        self.slot().take();
    }

    /// Asks for them again.
    pub fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    fn slot(&self) -> MutexGuard<'_, Option<Bytes>> {
        self.body
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

impl Order for PlanOrder {
    fn generation(&self) -> u64 {
        self.generation
    }

    fn is_at_hand(&self) -> bool {
        self.slot().is_some()
    }
}

#[cfg(test)]
mod tests {
    use fairway_api::{nodes::NodePlan, secret::Secret};

    use super::*;

    #[test]
    fn what_is_sent_is_a_plan_and_goes_once_it_is_delivered() {
        let registry = RegistryAccess {
            host: "127.0.0.1:5000".into(),
            username: "u".into(),
            password: Secret::new("p"),
            plain_http: true,
        };
        let node: NodeName = "one".parse().unwrap();
        let content = Content::of(&NodeIntent::default()).unwrap();
        let order = PlanOrder::new(&node, 7, &registry, &content).unwrap();
        let plan: NodePlan = serde_json::from_slice(&order.body().unwrap()).unwrap();
        assert_eq!((plan.node, plan.generation), (node.clone(), 7));
        assert_eq!((plan.registry, plan.pods), (registry.clone(), vec![]));
        order.want();
        assert!(order.says(&content) && !order.is_wanted());
        order.delivered();
        assert!(order.is_wanted() && order.body().is_none());
        let keep_images = vec![ImageRef {
            registry: "r".into(),
            repository: "a".into(),
            digest: format!("sha256:{}", "ab".repeat(32)).parse().unwrap(),
        }];
        let other = NodeIntent {
            keep_images,
            ..NodeIntent::default()
        };
        assert!(!order.says(&Content::of(&other).unwrap()));
    }
}
