//! What the engine does for sandboxes only.

use bollard::{body_full, query_parameters::CreateImageOptions};
use futures_util::StreamExt as _;

use super::{Engine, EngineError};
use crate::container::LABEL_SANDBOX;

impl Engine {
    /// What kind a sandbox is, by its label; `None` if it does not run.
    pub(crate) async fn sandbox_mark(&self, id: &str) -> Result<Option<String>, EngineError> {
        let found = self.find(id).await?.unwrap_or_default();
        let running = found.state.is_some_and(|state| state.running == Some(true));
        let labels = found.config.and_then(|config| config.labels);
        let mark = labels.and_then(|mut labels| labels.remove(LABEL_SANDBOX));
        Ok(mark.filter(|_| running))
    }

    /// Makes an image of one layer, given as a tar archive.
    pub(crate) async fn import(
        &self,
        (name, tag): (&str, &str),
        layer: Vec<u8>,
    ) -> Result<(), EngineError> {
        let options = CreateImageOptions {
            from_src: Some("-".into()),
            repo: Some(name.into()),
            tag: Some(tag.into()),
            ..CreateImageOptions::default()
        };
        let layer = body_full(layer.into());
        let docker = self.docker().await?;
        let mut progress = docker.create_image(Some(options), Some(layer), None);
        while let Some(step) = progress.next().await {
            step.map_err(self.failed("import the image"))?;
        }
        Ok(())
    }
}
