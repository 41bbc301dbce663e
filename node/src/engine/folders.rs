//! Shared folders: the engine's volumes that belong to pods.

use std::collections::HashMap;

use bollard::query_parameters::{ListVolumesOptions, RemoveVolumeOptions};
use fairway_api::ids::PodId;

use super::{Engine, EngineError};
use crate::container::{LABEL_INSTANCE, LABEL_POD};

impl Engine {
    /// All shared folders of this instance's pods: name and pod.
    pub(crate) async fn folders(&self) -> Result<Vec<(String, PodId)>, EngineError> {
        let ours = vec![format!("{LABEL_INSTANCE}={}", self.instance)];
        let options = ListVolumesOptions {
            filters: Some(HashMap::from([("label".to_owned(), ours)])),
        };
        let found = self.docker().await?.list_volumes(Some(options)).await;
        let found = found.map_err(self.failed("list the shared folders"))?;
        let folders = found.volumes.unwrap_or_default().into_iter();
        Ok(folders
            .filter_map(|it| {
                let pod = it.labels.get(LABEL_POD)?.parse().ok()?;
                Some((it.name, pod))
            })
            .collect())
    }

    /// Removes one; one that is gone is fine.
    pub(crate) async fn remove_folder(&self, name: &str) -> Result<(), EngineError> {
        let docker = self.docker().await?;
        let removed = docker
            .remove_volume(name, None::<RemoveVolumeOptions>)
            .await;
        match removed.map_err(self.failed("remove the shared folder")) {
            Err(error) if error.status() == Some(404) => Ok(()),
            other => other,
        }
    }
}
