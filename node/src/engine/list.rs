//! What there is of this instance: containers of pods, and sandboxes.

use std::collections::HashMap;

use bollard::{
    models::{ContainerSummary, ContainerSummaryStateEnum},
    query_parameters::ListContainersOptions,
};

use super::{Engine, EngineError};
use crate::{
    container::{self, LABEL_INSTANCE, LABEL_SANDBOX},
    diff::{Observed, State},
    sandbox::Listed,
};

/// Containers of this instance.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) containers: Vec<Observed>,
    pub(crate) sandboxes: Vec<Listed>,
}

impl Engine {
    /// All containers of this instance's agent, whatever their state.
    pub(crate) async fn list(&self) -> Result<Listing, EngineError> {
        let filter = vec![format!("{LABEL_INSTANCE}={}", self.instance)];
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), filter)])),
            ..Default::default()
        };
        let found = self.docker().await?.list_containers(Some(options)).await;
        let found = found.map_err(self.failed("list the containers"))?;
        let (sandboxes, others): (Vec<_>, Vec<_>) = found.into_iter().partition(is_sandbox);
        let sandboxes: Vec<Listed> = sandboxes.into_iter().filter_map(listed).collect();
        let observed = |summary| self.observed(summary, &sandboxes);
        Ok(Listing {
            containers: others.into_iter().filter_map(observed).collect(),
            sandboxes,
        })
    }

    fn observed(&self, summary: ContainerSummary, sandboxes: &[Listed]) -> Option<Observed> {
        use ContainerSummaryStateEnum as Engine;
        let state = match summary.state? {
            Engine::CREATED => State::Created,
            Engine::RUNNING | Engine::PAUSED | Engine::RESTARTING | Engine::STOPPING => {
                State::Running
            }
            Engine::EXITED | Engine::DEAD | Engine::EMPTY => State::Dead,
            Engine::REMOVING => return None,
        };
        let stamp = container::stamp(&self.instance, &summary.labels.unwrap_or_default())?;
        let network = summary.host_config.and_then(|config| config.network_mode);
        let sandbox = container::sandbox_of(network.as_deref());
        let runs = |id: &String| sandboxes.iter().any(|it| it.id == *id && it.running);
        Some(Observed {
            id: summary.id?,
            stamp,
            state,
            cut_off: sandbox.as_ref().is_some_and(|id| !runs(id)),
            sandbox,
        })
    }
}

fn is_sandbox(summary: &ContainerSummary) -> bool {
    let labels = summary.labels.as_ref();
    labels.is_some_and(|labels| labels.contains_key(LABEL_SANDBOX))
}

fn listed(summary: ContainerSummary) -> Option<Listed> {
    Some(Listed {
        id: summary.id?,
        running: summary.state == Some(ContainerSummaryStateEnum::RUNNING),
    })
}
