//! Builds an image from a Dockerfile, by the container engine, and has the engine push it.
//!
//! The engine's classic builder: for a change of code with a warm cache it is faster than BuildKit
//! on every engine that has both, and it needs no session. Its output becomes details of ours. The
//! engine gets proxies as build arguments, and mirrors of package registries that the Dockerfile
//! asks for; nothing else of the builder's: no config vars, no credentials.

mod arguments;
mod context;
mod ignore;
mod limits;
pub(crate) mod step_images;
mod steps;

use std::{collections::HashMap, path::Path, time::Duration};

use anyhow::Context as _;
use bollard::{
    body_try_stream,
    models::{EventMessage, ImageInspect},
    query_parameters::{
        BuildImageOptions, BuildImageOptionsBuilder, EventsOptionsBuilder, PushImageOptionsBuilder,
    },
};
use fairway_api::{
    ids::{AppId, BuildId},
    images::ImageRef,
    phases::Phase,
};
use futures_util::{StreamExt, TryStreamExt};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use self::{
    ignore::{DOCKERIGNORE_BYTES_MAX, Ignore},
    limits::{Guard, Hit},
    step_images::StepImages,
    steps::Steps,
};
use crate::{
    build::{BuildFailure, BuildLimits},
    containers::{Engine, cgroup::Cgroups, credentials},
    lifecycle::confined::Folder,
    output::Output,
    publish::Registry,
    stack::{Stack, toolchain::Toolchain},
};

/// The tag that a repository's newest image has in the engine. Releases go by digest.
const TAG: &str = "latest";

/// The largest Dockerfile that is read for the arguments it declares, in bytes.
const DOCKERFILE_BYTES_MAX: usize = 1024 * 1024;
/// How often it is looked what a running build uses, in seconds. The engine walks all files that a
/// step wrote.
const LOOK_SECS: u64 = 3;

/// What a Dockerfile build needs.
pub(crate) struct DockerfileBuild<'a> {
    pub(crate) id: BuildId,
    pub(crate) engine: &'a Engine,
    pub(crate) registry: &'a Registry,
    pub(crate) app: AppId,
    pub(crate) repository: &'a str,
    pub(crate) step_images: &'a StepImages,
    pub(crate) stack: &'a Stack,
    pub(crate) cgroups: Option<Cgroups>,
    pub(crate) source: &'a Path,
    pub(crate) limits: &'a BuildLimits,
    pub(crate) toolchain: &'a Toolchain,
    pub(crate) output: &'a Output,
    pub(crate) cancel: &'a CancellationToken,
}

/// An image from a Dockerfile, pushed.
pub(crate) struct DockerfileImage {
    pub(crate) image: ImageRef,
    pub(crate) size_bytes: u64,
    /// Entrypoint and command as one line; `None` when the image has neither.
    pub(crate) command_line: Option<String>,
    pub(crate) exposed_port: Option<u16>,
}

/// A build in the engine. However it ends, also by being dropped, what the engine keeps of its
/// steps is noted.
struct Noted<'a> {
    build: &'a DockerfileBuild<'a>,
    steps: Steps,
    good: bool,
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        let images = self.steps.take_images();
        self.build
            .step_images
            .built(self.build.app, images, self.good);
    }
}

impl DockerfileBuild<'_> {
    /// Builds and pushes, within the limits.
    pub(crate) async fn run(&self) -> Result<DockerfileImage, BuildFailure> {
        let limit = Duration::from_secs(self.limits.time_secs);
        tokio::select! {
            done = self.build_and_push() => done,
            () = self.cancel.cancelled() => Err(BuildFailure::cancelled()),
            () = tokio::time::sleep(limit) => Err(BuildFailure::new(format!(
                "the build took longer than the limit of {} minutes; make it smaller, or ask the \
                 operator to raise the limit",
                self.limits.time_secs.div_ceil(60)
            ))),
        }
    }

    async fn build_and_push(&self) -> Result<DockerfileImage, BuildFailure> {
        let started = Instant::now();
        self.output.header("Building from the Dockerfile");
        let id = self.build().await?;
        let built = started.elapsed();
        Phase::Engine.log(self.id, built);
        let inspected = self
            .engine
            .image(&id)
            .await?
            .context("the image built just now is gone")?;
        let exposed_port = exposed_port(&inspected);
        let command_line = command_line(&inspected);
        self.mount_base(&inspected).await?;
        let image = push(self.engine, self.registry, self.repository, TAG).await?;
        let manifest = self
            .registry
            .manifest(&image)
            .await
            .map_err(anyhow::Error::new)?;
        let size_bytes = manifest
            .layers()
            .iter()
            .map(oci_spec::image::Descriptor::size)
            .sum();
        Phase::Publish.log(self.id, started.elapsed() - built);
        Ok(DockerfileImage {
            image,
            size_bytes,
            command_line,
            exposed_port,
        })
    }

    /// Has the engine build; gives the image's id.
    async fn build(&self) -> Result<String, BuildFailure> {
        let ignore = self.ignore()?;
        let chunks = context::stream(self.source.to_owned(), ignore);
        let body = body_try_stream(ReceiverStream::new(chunks));
        let mut noted = Noted {
            build: self,
            steps: Steps::default(),
            good: false,
        };
        let mut guard = Guard::new(self.engine, self.cgroups, self.limits).await;
        let docker = guard.docker();
        let mut stream = docker.build_image(self.options(), None, Some(body));
        let mut looks = interval(Duration::from_secs(LOOK_SECS));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        looks.reset();
        let mut id = None;
        loop {
            let info = tokio::select! {
                info = stream.next() => info,
                _ = looks.tick() => match guard.look(noted.steps.container()).await {
                    // The engine ends a build whose client leaves.
                    Some(hit) => return Err(BuildFailure::new(noted.steps.hit(hit))),
                    None => continue,
                },
            };
            let info = match info {
                Some(Ok(info)) => info,
                Some(Err(error)) => {
                    return Err(self.step_failed(&noted.steps, &guard, error).await);
                }
                None => break,
            };
            if let Some(image) = info.aux.and_then(|aux| aux.id) {
                id = Some(image);
            }
            if let Some(text) = info.stream {
                for line in noted.steps.push(&text) {
                    self.output.detail(line);
                }
            }
            if let Some(status) = info.status {
                // Of a base image that is pulled; without the progress of each layer.
                if info.progress_detail.is_none() {
                    self.output.detail(status);
                }
            }
        }
        noted.good = id.is_some();
        id.context("the engine ended the build without an image")
            .map_err(BuildFailure::from)
    }

    fn ignore(&self) -> Result<Ignore, BuildFailure> {
        let folder = Folder::open(self.source).context("open the source tree")?;
        let bytes = folder
            .read(".dockerignore", DOCKERIGNORE_BYTES_MAX)
            .map_err(|error| BuildFailure::new(format!("cannot read .dockerignore: {error}")))?
            .unwrap_or_default();
        let text = String::from_utf8(bytes)
            .map_err(|_| BuildFailure::new(".dockerignore is not UTF-8 text"))?;
        Ignore::parse(&text).map_err(|error| BuildFailure::new(error.to_string()))
    }

    fn options(&self) -> BuildImageOptions {
        let limits = self.limits;
        let mut arguments: HashMap<String, String> = self.toolchain.proxies().into_iter().collect();
        arguments.extend(self.declared_arguments());
        let quota = i32::try_from(limits.cpu_millis.saturating_mul(100)).unwrap_or(i32::MAX);
        BuildImageOptionsBuilder::default()
            .t(&self.name())
            .forcerm(true)
            .cpuperiod(100_000)
            .cpuquota(quota)
            .cpushares(256)
            .buildargs(&arguments)
            .build()
    }

    /// The mirrors of package registries that the Dockerfile declares as arguments. One that cannot
    /// be read here is the engine's to judge.
    fn declared_arguments(&self) -> HashMap<String, String> {
        let read = Folder::open(self.source)
            .and_then(|folder| folder.read("Dockerfile", DOCKERFILE_BYTES_MAX));
        let bytes = read.ok().flatten().unwrap_or_default();
        arguments::declared(&String::from_utf8_lossy(&bytes), &self.toolchain.env)
    }

    fn name(&self) -> String {
        format!("{}/{}:{TAG}", self.registry.access().host, self.repository)
    }

    /// Says in the user's words what ended the build.
    async fn step_failed(
        &self,
        steps: &Steps,
        guard: &Guard<'_>,
        error: bollard::errors::Error,
    ) -> BuildFailure {
        use bollard::errors::Error;
        let said = match error {
            Error::DockerStreamError { error } => error,
            Error::DockerResponseServerError { message, .. } => message,
            other => {
                let error = anyhow::Error::new(other);
                return BuildFailure::ours(&error.context("build with the container engine"));
            }
        };
        let out_of_memory = match steps.container() {
            Some(container) if steps::killed(&said) => self.ran_out_of_memory(container).await,
            _ => false,
        };
        BuildFailure::new(if out_of_memory {
            let bytes = self.limits.memory_bytes;
            steps.hit(Hit::Memory { bytes })
        } else if steps::exit_code(&said).is_some() && guard.processes_refused() {
            let count = self.limits.pids;
            steps.hit(Hit::Processes { count })
        } else {
            steps.failure(&said)
        })
    }

    /// Asks the engine whether this container of the build hit its memory limit.
    async fn ran_out_of_memory(&self, container: &str) -> bool {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        let filters = HashMap::from([
            ("event".to_owned(), vec!["oom".to_owned()]),
            ("container".to_owned(), vec![container.to_owned()]),
        ]);
        let since = now.saturating_sub(self.limits.time_secs).to_string();
        let until = (now + 1).to_string();
        let options = EventsOptionsBuilder::default()
            .since(&since)
            .until(&until)
            .filters(&filters)
            .build();
        let events = self.engine.docker().events(Some(options));
        let events: Vec<EventMessage> = events
            .take_while(|event| std::future::ready(event.is_ok()))
            .try_collect()
            .await
            .unwrap_or_default();
        !events.is_empty()
    }

    /// Links the layers of a stack image that the image stands on into the app's repository. The
    /// engine finds them there and does not pack and send them again.
    async fn mount_base(&self, image: &ImageInspect) -> Result<(), BuildFailure> {
        let layers = image
            .root_fs
            .as_ref()
            .and_then(|root| root.layers.as_deref());
        for base in [&self.stack.run, &self.stack.build] {
            if layers
                .unwrap_or_default()
                .starts_with(base.config.rootfs().diff_ids())
            {
                for blob in &base.layers {
                    let source = Some(base.role.repository());
                    let there = self
                        .registry
                        .ensure_blob(self.repository, blob, source)
                        .await;
                    there.map_err(anyhow::Error::new)?;
                }
            }
        }
        Ok(())
    }
}

/// Has the engine push an image that has this tag; gives its name by digest.
pub(crate) async fn push(
    engine: &Engine,
    registry: &Registry,
    repository: &str,
    tag: &str,
) -> anyhow::Result<ImageRef> {
    /// What the engine says when the registry has no room.
    const DISK_FULL_STATUS: &str = "507 Insufficient Storage";
    let access = registry.access();
    let name = format!("{}/{repository}", access.host);
    let options = PushImageOptionsBuilder::default().tag(tag).build();
    let credentials = credentials(access);
    let stream = engine
        .docker()
        .push_image(&name, Some(options), Some(credentials));
    let told: Vec<_> = match stream.try_collect().await {
        Ok(told) => told,
        // All that the engine passes on of it is the status.
        Err(bollard::errors::Error::DockerStreamError { error })
            if error.contains(DISK_FULL_STATUS) =>
        {
            return Err(anyhow::Error::new(registry.why_full(repository).await));
        }
        Err(error) => {
            let error = anyhow::Error::new(error);
            return Err(error.context("push the image to the registry"));
        }
    };
    let digest = told
        .iter()
        .rev()
        .find_map(|info| steps::pushed_digest(info.status.as_deref()?));
    let digest = digest.context("the engine did not say the digest of the pushed image")?;
    Ok(ImageRef {
        registry: access.host.clone(),
        repository: repository.to_owned(),
        digest,
    })
}

/// The port that the image exposes over TCP, if it is exactly one.
fn exposed_port(image: &ImageInspect) -> Option<u16> {
    let ports = image.config.as_ref()?.exposed_ports.as_ref()?;
    let mut tcp = ports.iter().filter_map(|port| match port.split_once('/') {
        None => port.parse().ok(),
        Some((number, "tcp")) => number.parse().ok(),
        Some(_) => None,
    });
    let first = tcp.next()?;
    tcp.next().is_none().then_some(first)
}

/// What the image starts, to show to people.
pub(crate) fn command_line(image: &ImageInspect) -> Option<String> {
    let config = image.config.as_ref()?;
    let parts = [config.entrypoint.as_deref(), config.cmd.as_deref()];
    let words: Vec<&str> = parts
        .into_iter()
        .flatten()
        .flatten()
        .map(String::as_str)
        .collect();
    match words.as_slice() {
        [] => None,
        ["/bin/sh", "-c", line] => Some((*line).to_owned()),
        words => Some(shlex::try_join(words.iter().copied()).unwrap_or_else(|_| words.join(" "))),
    }
}
