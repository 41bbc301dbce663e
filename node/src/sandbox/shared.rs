//! The network that all containers of one pod are in.

use std::sync::Arc;

use fairway_api::pods::PodSpec;
use tokio::sync::Mutex;

use super::Sandboxes;
use crate::{engine::EngineError, network::Joined, start::NO_ADDRESSES};

/// One pod's sandbox, made when its first container starts and made anew when it has ended.
#[derive(Debug)]
pub(crate) struct SharedNet {
    sandboxes: Arc<Sandboxes>,
    pod: Arc<PodSpec>,
    /// Locked while one is looked for and made, so that containers which start together get one.
    held: Mutex<Option<String>>,
}

impl SharedNet {
    /// `kept` is the one that the pod has from before the agent was started.
    pub(crate) fn new(sandboxes: Arc<Sandboxes>, pod: Arc<PodSpec>, kept: Option<String>) -> Self {
        Self {
            sandboxes,
            pod,
            held: Mutex::new(kept),
        }
    }

    /// The sandbox; one that runs, as far as the engine says.
    pub(crate) async fn get(&self, joined: &Joined) -> Result<String, EngineError> {
        let mut held = self.held.lock().await;
        if let Some(id) = held.take() {
            if self.sandboxes.engine.sandbox_mark(&id).await?.is_some() {
                return Ok(held.insert(id).clone());
            }
            self.sandboxes.release(id);
        }
        let mut made = self.sandboxes.take_or_make(&self.pod, joined).await;
        let full = made
            .as_ref()
            .is_err_and(|error| error.message().contains(NO_ADDRESSES));
        if full && self.sandboxes.give_up().await {
            made = self.sandboxes.take_or_make(&self.pod, joined).await;
        }
        made.map(|id| held.insert(id).clone())
    }

    /// The pod is no more.
    pub(crate) async fn release(&self) {
        if let Some(id) = self.held.lock().await.take() {
            self.sandboxes.release(id);
        }
    }
}
