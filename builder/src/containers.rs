//! The container engine as builds use it: images, and containers that buildpacks run in.
//!
//! Everything made here carries the labels of this installation, so that two of them can share an
//! engine, and so that what a dead builder left behind is found and removed.

pub(crate) mod cgroup;
pub(crate) mod pool;
pub(crate) mod sandbox;
pub(crate) mod slot;

use std::{collections::HashMap, io::ErrorKind};

use anyhow::Context as _;
use bollard::{
    Docker,
    auth::DockerCredentials,
    errors::Error as DockerError,
    models::{ImageInspect, NetworkCreateRequest},
    query_parameters::{
        CreateImageOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
        TagImageOptionsBuilder,
    },
};
use fairway_api::{engine, images::RegistryAccess};
use futures_util::TryStreamExt;

use self::cgroup::Cgroups;

/// On everything that an installation makes in the engine: its id.
const INSTANCE_LABEL: &str = "dev.fairway.instance";
/// On everything that builders make in the engine.
const ROLE_LABEL: &str = "dev.fairway.role";
/// The value of [`ROLE_LABEL`].
const ROLE: &str = "builder";

/// Where the engine's client looks for it when `DOCKER_HOST` does not say.
const ENGINE_DEFAULT: &str = "/var/run/docker.sock";

/// The container engine of this machine.
#[derive(Clone)]
pub(crate) struct Engine {
    docker: Docker,
    instance: String,
}

impl Engine {
    /// Prepares a connection. Nothing is sent yet.
    pub(crate) fn new(instance: &str) -> anyhow::Result<Self> {
        let docker = Docker::connect_with_local_defaults().map_err(in_words)?;
        Ok(Self {
            docker,
            instance: instance.to_owned(),
        })
    }

    /// Fails, in words for the operator, while the engine does not answer.
    pub(crate) async fn check(&self) -> anyhow::Result<()> {
        self.docker.ping().await.map(drop).map_err(in_words)
    }

    /// The client, for what only one module does.
    pub(crate) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// The id of this installation.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    /// How the engine keeps cgroups; `None` when it does not say.
    pub(crate) async fn cgroups(&self) -> anyhow::Result<Option<Cgroups>> {
        let info = self.docker.info().await;
        Ok(Cgroups::of(
            &info.context("ask the container engine about itself")?,
        ))
    }

    /// The labels of everything that this builder makes.
    pub(crate) fn labels(&self) -> HashMap<String, String> {
        HashMap::from([
            (INSTANCE_LABEL.to_owned(), self.instance.clone()),
            (ROLE_LABEL.to_owned(), ROLE.to_owned()),
        ])
    }

    /// A fresh name for a build container.
    pub(crate) fn container_name(&self) -> String {
        let id = uuid::Uuid::new_v4().simple().to_string();
        format!("fairway-build-{}-{}", self.instance, &id[..12])
    }

    /// What the engine knows of an image; `None` when it has none of that name.
    pub(crate) async fn image(&self, name: &str) -> anyhow::Result<Option<ImageInspect>> {
        match self.docker.inspect_image(name).await {
            Ok(image) => Ok(Some(image)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error).context("ask the container engine for an image"),
        }
    }

    /// The id of an image; `None` when the engine has none of that name.
    pub(crate) async fn image_id(&self, name: &str) -> anyhow::Result<Option<String>> {
        Ok(self.image(name).await?.and_then(|image| image.id))
    }

    /// Pulls `host/repository@digest`.
    pub(crate) async fn pull(&self, name: &str, access: &RegistryAccess) -> anyhow::Result<()> {
        let options = CreateImageOptionsBuilder::default()
            .from_image(name)
            .build();
        self.docker
            .create_image(Some(options), None, Some(credentials(access)))
            .try_for_each(|_| std::future::ready(Ok(())))
            .await
            .with_context(|| format!("pull {name}"))
    }

    /// Gives an image a further name, `repository:tag`.
    pub(crate) async fn tag(&self, image: &str, name: &str) -> anyhow::Result<()> {
        let (repository, tag) = name
            .rsplit_once(':')
            .context("a name for an image has a tag")?;
        let options = TagImageOptionsBuilder::default()
            .repo(repository)
            .tag(tag)
            .build();
        self.docker
            .tag_image(image, Some(options))
            .await
            .with_context(|| format!("name {image}"))
    }

    /// The network that build containers are in: apart from the apps', and from each other.
    pub(crate) async fn ensure_build_network(&self) -> anyhow::Result<String> {
        let name = format!("fairway-build-{}", self.instance);
        if self.docker.inspect_network(&name, None).await.is_ok() {
            return Ok(name);
        }
        let apart = (
            "com.docker.network.bridge.enable_icc".to_owned(),
            "false".to_owned(),
        );
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".into()),
            labels: Some(self.labels()),
            options: Some(HashMap::from([apart])),
            ..NetworkCreateRequest::default()
        };
        match self.docker.create_network(request).await {
            Ok(_) => Ok(name),
            // Another build was quicker.
            Err(DockerError::DockerResponseServerError {
                status_code: 409, ..
            }) => Ok(name),
            Err(error) => Err(error).context("make the network for builds"),
        }
    }

    /// Removes a container, whatever it does.
    pub(crate) async fn remove_container(&self, id: &str) -> anyhow::Result<()> {
        let options = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        match self.docker.remove_container(id, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            // It is being removed already.
            Err(DockerError::DockerResponseServerError {
                status_code: 409, ..
            }) => Ok(()),
            Err(error) => Err(error).context("remove a build container"),
        }
    }

    /// Removes the containers that an earlier run of this builder left behind.
    pub(crate) async fn remove_leftovers(&self) -> anyhow::Result<()> {
        let labels = self
            .labels()
            .into_iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        let filters = HashMap::from([("label".to_owned(), labels)]);
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        let left = self.docker.list_containers(Some(options)).await;
        for container in left.context("list the containers of earlier builds")? {
            if let Some(id) = container.id {
                self.remove_container(&id).await?;
            }
        }
        Ok(())
    }

    /// Removes what only this builder uses in the engine: containers, then the network.
    pub(crate) async fn remove_all(&self) -> anyhow::Result<()> {
        self.remove_leftovers().await?;
        let name = format!("fairway-build-{}", self.instance);
        match self.docker.remove_network(&name).await {
            Ok(()) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(error).context("remove the network of builds"),
        }
    }
}

/// What the engine sends to the registry on our behalf.
pub(crate) fn credentials(access: &RegistryAccess) -> DockerCredentials {
    let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    DockerCredentials {
        username: filled(&access.username),
        password: filled(access.password.expose()),
        serveraddress: Some(access.host.clone()),
        ..DockerCredentials::default()
    }
}

/// What to say of an error that means that the engine cannot be reached; `None` for any other.
pub(crate) fn away(error: &DockerError) -> Option<String> {
    let kind = match error {
        DockerError::SocketNotFoundError(_) => Some(ErrorKind::NotFound),
        DockerError::HyperLegacyError { .. }
        | DockerError::HyperResponseError { .. }
        | DockerError::RequestTimeoutError
        | DockerError::IOError { .. } => engine::io_kind(error),
        _ => return None,
    };
    let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| ENGINE_DEFAULT.into());
    Some(engine::away(host.trim_start_matches("unix://"), kind))
}

/// An error of the engine's client as an operator reads it.
fn in_words(error: DockerError) -> anyhow::Error {
    match away(&error) {
        Some(text) => anyhow::Error::msg(text),
        None => anyhow::Error::new(error).context("ask the container engine"),
    }
}

fn is_missing(error: &DockerError) -> bool {
    matches!(
        error,
        DockerError::DockerResponseServerError {
            status_code: 404,
            ..
        }
    )
}
