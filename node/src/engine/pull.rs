//! Pulling an image pinned by digest.

use std::time::Duration;

use bollard::{auth::DockerCredentials, query_parameters::CreateImageOptions};
use fairway_api::images::{ImageRef, RegistryAccess};
use futures_util::StreamExt as _;

use super::{DockerError, Engine, EngineError};

/// How long a pull may show no progress, in seconds: unpacking a large layer onto a slow disk is
/// the longest silence.
const STALL_SECS: u64 = 120;

impl Engine {
    /// Pulls an image. The engine itself joins pulls of the same image and limits how many
    /// downloads run at once.
    pub(crate) async fn pull(
        &self,
        image: &ImageRef,
        access: Option<&RegistryAccess>,
    ) -> Result<(), EngineError> {
        let options = CreateImageOptions {
            from_image: Some(format!("{}/{}", image.registry, image.repository)),
            tag: Some(image.digest.to_string()),
            ..CreateImageOptions::default()
        };
        // Credentials go to the registry they are for and to no other.
        let access = access.filter(|access| access.host == image.registry);
        let credentials = access.map(|access| DockerCredentials {
            username: Some(access.username.clone()),
            password: Some(access.password.expose().to_owned()),
            serveraddress: Some(access.host.clone()),
            ..DockerCredentials::default()
        });
        let mut progress = self
            .docker()
            .await?
            .create_image(Some(options), None, credentials);
        let stall = Duration::from_secs(STALL_SECS);
        loop {
            match tokio::time::timeout(stall, progress.next()).await {
                Ok(None) => return Ok(()),
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(error))) => return Err(self.pull_failed(image, error)),
                Err(_) => {
                    return Err(EngineError::PullStalled {
                        image: image.to_string(),
                        secs: STALL_SECS,
                    });
                }
            }
        }
    }

    fn pull_failed(&self, image: &ImageRef, error: DockerError) -> EngineError {
        let message = match error {
            DockerError::DockerStreamError { error } => error,
            DockerError::DockerResponseServerError { message, .. } => message,
            other => return self.failed("pull the image")(other),
        };
        EngineError::PullFailed {
            image: image.to_string(),
            message,
        }
    }
}
