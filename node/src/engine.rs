//! The Docker Engine as this agent uses it: few calls, each with an error that says what was
//! refused and why. It must not decide anything.

mod attach;
mod events;
mod exec;
mod folders;
mod list;
mod network;
mod pull;
mod sandbox;
mod user;

use std::{io, net::IpAddr, path::PathBuf, pin::Pin, time::Duration};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    container::LogOutput,
    errors::Error as DockerError,
    models::{ContainerCreateBody, ContainerInspectResponse},
    query_parameters::{
        CreateContainerOptions, InspectContainerOptions, KillContainerOptions, LogsOptions,
        RemoveContainerOptions, RemoveImageOptions, ResizeContainerTTYOptions,
        StartContainerOptions,
    },
};
use chrono::{DateTime, Utc};
use fairway_api::engine;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::{Mutex, OnceCell};

use crate::{container, pod::Running};

pub(crate) use attach::{Attached, AttachedOutput};
pub(crate) use events::{Event, EventKind};
pub(crate) use exec::Command;
pub(crate) use network::{Addresses, PodNetwork};

/// How long the engine may take to begin an answer, in seconds: starting a container on a machine
/// under load takes a while.
const ANSWER_SECS: u64 = 120;
/// Pause before an engine that is away is asked again, in milliseconds.
pub(crate) const AGAIN_MILLIS: u64 = 1_000;

/// Why the engine did not do something. The texts are shown to users as the reason of a pod.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("{}", engine::away(&socket.to_string_lossy(), cause(source)))]
    Away {
        socket: PathBuf,
        #[source]
        source: DockerError,
    },
    #[error("the container engine refused to {action}: {message}")]
    Refused {
        action: &'static str,
        status: u16,
        message: String,
    },
    #[error("the container engine failed to {action}")]
    Failed {
        action: &'static str,
        #[source]
        source: DockerError,
    },
    #[error(
        "pulling {image} stalled: no progress for {secs} seconds; check the registry and the network to it"
    )]
    PullStalled { image: String, secs: u64 },
    #[error("cannot pull {image}: {message}")]
    PullFailed { image: String, message: String },
}

/// Why the engine cannot be reached. The client looks for the socket before it connects, and says
/// what it found in its own way.
fn cause(error: &DockerError) -> Option<io::ErrorKind> {
    match error {
        DockerError::SocketNotFoundError(_) => Some(io::ErrorKind::NotFound),
        other => engine::io_kind(other),
    }
}

impl EngineError {
    /// The engine's status code, if it answered with one.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// True if a container was refused because its image is not here.
    pub(crate) fn lacks_image(&self) -> bool {
        self.status() == Some(404) && self.message().to_lowercase().contains("no such image")
    }

    /// What the engine said, or the whole text.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Refused { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }
}

/// What an inspection of a container says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inspected {
    Running {
        running: Running,
        pid: Option<i64>,
        /// The sandbox whose network it has does not run.
        cut_off: bool,
    },
    Dead {
        code: i64,
        out_of_memory: bool,
        at: Option<DateTime<Utc>>,
    },
    Missing,
}

/// One piece of a container's output: a line, or 16 KiB of a longer one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) error_output: bool,
    pub(crate) at: DateTime<Utc>,
    pub(crate) text: String,
}

/// A connection to one engine, for one instance.
#[derive(Debug)]
pub(crate) struct Engine {
    socket: PathBuf,
    instance: String,
    /// Set by the first call that the engine answers, with the API version it speaks.
    docker: OnceCell<Docker>,
    /// Held while the network is looked for and made: the engine would make two of one name.
    making_network: Mutex<()>,
}

impl Engine {
    pub(crate) fn new(socket: PathBuf, instance: String) -> Self {
        Self {
            socket,
            instance,
            docker: OnceCell::new(),
            making_network: Mutex::new(()),
        }
    }

    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }

    async fn docker(&self) -> Result<&Docker, EngineError> {
        let connect = async || {
            let socket = self.socket.to_string_lossy();
            Docker::connect_with_unix(&socket, ANSWER_SECS, API_DEFAULT_VERSION)?
                .negotiate_version()
                .await
        };
        self.docker
            .get_or_try_init(connect)
            .await
            .map_err(self.failed("answer"))
    }

    /// Sorts an error of the library by what the caller can do about it.
    fn failed(&self, action: &'static str) -> impl Fn(DockerError) -> EngineError + '_ {
        move |error| match error {
            DockerError::DockerResponseServerError {
                status_code,
                message,
            } => EngineError::Refused {
                action,
                status: status_code,
                message,
            },
            source @ (DockerError::SocketNotFoundError(_)
            | DockerError::HyperLegacyError { .. }
            | DockerError::HyperResponseError { .. }
            | DockerError::RequestTimeoutError
            | DockerError::IOError { .. }) => EngineError::Away {
                socket: self.socket.clone(),
                source,
            },
            source => EngineError::Failed { action, source },
        }
    }

    /// Fails while the engine does not answer.
    pub(crate) async fn ping(&self) -> Result<(), EngineError> {
        self.docker()
            .await?
            .ping()
            .await
            .map(drop)
            .map_err(self.failed("answer"))
    }

    /// Name and version, and where it keeps its data.
    pub(crate) async fn about(&self) -> Result<(String, PathBuf), EngineError> {
        let info = self
            .docker()
            .await?
            .info()
            .await
            .map_err(self.failed("describe itself"))?;
        let version = info.server_version.unwrap_or_default();
        let root = info
            .docker_root_dir
            .unwrap_or_else(|| "/var/lib/docker".into());
        Ok((format!("Docker {version}"), root.into()))
    }

    pub(crate) async fn create(
        &self,
        name: &str,
        body: ContainerCreateBody,
    ) -> Result<String, EngineError> {
        let options = CreateContainerOptions {
            name: Some(name.into()),
            ..Default::default()
        };
        let made = self
            .docker()
            .await?
            .create_container(Some(options), body)
            .await;
        made.map(|made| made.id)
            .map_err(self.failed("make the container"))
    }

    pub(crate) async fn start(&self, id: &str) -> Result<(), EngineError> {
        let started = self
            .docker()
            .await?
            .start_container(id, None::<StartContainerOptions>)
            .await;
        started.map_err(self.failed("start the container"))
    }

    pub(crate) async fn signal(&self, id: &str, signal: &str) -> Result<(), EngineError> {
        let options = KillContainerOptions {
            signal: signal.into(),
        };
        let sent = self.docker().await?.kill_container(id, Some(options)).await;
        sent.map_err(self.failed("signal the container"))
    }

    /// Removes a container with its anonymous volumes, running or not; one that is gone already is
    /// fine. Only for ids that carry the instance's label: made here, or listed by it.
    pub(crate) async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let options = RemoveContainerOptions {
            v: true,
            force: true,
            link: false,
        };
        let removed = self
            .docker()
            .await?
            .remove_container(id, Some(options))
            .await;
        match removed.map_err(self.failed("remove the container")) {
            // 409: another call is removing it.
            Err(error) if matches!(error.status(), Some(404 | 409)) => Ok(()),
            other => other,
        }
    }

    /// Frees a name that a container of ours holds; false if it is not ours.
    pub(crate) async fn free_name(&self, name: &str) -> Result<bool, EngineError> {
        let Some(found) = self.find(name).await? else {
            return Ok(true);
        };
        let labels = found
            .config
            .and_then(|config| config.labels)
            .unwrap_or_default();
        match (container::stamp(&self.instance, &labels), found.id) {
            (Some(_), Some(id)) => self.remove(&id).await.map(|()| true),
            _ => Ok(false),
        }
    }

    /// How a container is. One in a sandbox has the sandbox's address.
    pub(crate) async fn inspect(&self, id: &str) -> Result<Inspected, EngineError> {
        let mut seen = self.inspect_alone(id).await?;
        if let Inspected::Running {
            running, cut_off, ..
        } = &mut seen
            && let Some(sandbox) = &running.sandbox
        {
            match self.inspect_alone(sandbox).await? {
                Inspected::Running { running: of, .. } => running.address = of.address,
                Inspected::Dead { .. } | Inspected::Missing => *cut_off = true,
            }
        }
        Ok(seen)
    }

    async fn inspect_alone(&self, id: &str) -> Result<Inspected, EngineError> {
        let found = self.find(id).await?;
        Ok(found.map_or(Inspected::Missing, |found| inspected(id, found)))
    }

    /// What a container wrote to its own file system, in bytes; `None` for one that is gone. The
    /// engine walks through all of it.
    pub(crate) async fn written(&self, id: &str) -> Result<Option<u64>, EngineError> {
        let options = InspectContainerOptions { size: true };
        let found = self.docker().await?.inspect_container(id, Some(options));
        match found.await.map_err(self.failed("measure the container")) {
            Ok(found) => Ok(found.size_rw.and_then(|bytes| u64::try_from(bytes).ok())),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn find(&self, id: &str) -> Result<Option<ContainerInspectResponse>, EngineError> {
        let found = self
            .docker()
            .await?
            .inspect_container(id, None::<InspectContainerOptions>);
        match found.await.map_err(self.failed("look at the container")) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The same, waiting for an engine that is away: what runs does not stop for that.
    pub(crate) async fn inspect_patiently(&self, id: &str) -> Inspected {
        loop {
            match self.inspect(id).await {
                Ok(inspected) => return inspected,
                Err(error) => tracing::warn!(container = id, "cannot look at a container: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(AGAIN_MILLIS)).await;
        }
    }

    pub(crate) async fn resize(
        &self,
        id: &str,
        rows: u16,
        columns: u16,
    ) -> Result<(), EngineError> {
        let options = ResizeContainerTTYOptions {
            h: rows.into(),
            w: columns.into(),
        };
        let done = self.docker().await?.resize_container_tty(id, options).await;
        done.map_err(self.failed("resize the terminal"))
    }

    pub(crate) async fn remove_image(&self, reference: &str) -> Result<(), EngineError> {
        let options = RemoveImageOptions {
            force: false,
            ..Default::default()
        };
        let removed = self
            .docker()
            .await?
            .remove_image(reference, Some(options), None)
            .await;
        removed.map(drop).map_err(self.failed("remove the image"))
    }

    /// The last `count` lines of a container's output.
    pub(crate) async fn last_lines(
        &self,
        id: &str,
        count: usize,
    ) -> Result<Vec<String>, EngineError> {
        let options = LogsOptions {
            tail: count.to_string(),
            ..log_options(0, false)
        };
        let mut pieces = self.read_log(id, options).await?;
        let mut lines = Vec::new();
        while let Some(piece) = pieces.next().await {
            lines.push(piece?.text);
        }
        Ok(lines)
    }

    /// A container's output from the second `since` on; with `follow` until it ends.
    pub(crate) async fn log(
        &self,
        id: &str,
        since: DateTime<Utc>,
        follow: bool,
    ) -> Result<Pin<Box<dyn Stream<Item = Result<Piece, EngineError>> + Send + '_>>, EngineError>
    {
        self.read_log(id, log_options(since.timestamp(), follow))
            .await
    }

    async fn read_log(
        &self,
        id: &str,
        options: LogsOptions,
    ) -> Result<Pin<Box<dyn Stream<Item = Result<Piece, EngineError>> + Send + '_>>, EngineError>
    {
        let stream = self.docker().await?.logs(id, Some(options));
        Ok(Box::pin(stream.filter_map(async |output| match output {
            Ok(output) => piece(&output).map(Ok),
            Err(error) => Some(Err(self.failed("read the container's log")(error))),
        })))
    }
}

fn log_options(since: i64, follow: bool) -> LogsOptions {
    LogsOptions {
        follow,
        stdout: true,
        stderr: true,
        timestamps: true,
        since: i32::try_from(since).unwrap_or(0),
        ..LogsOptions::default()
    }
}

/// Splits the engine's time stamp from a piece of output.
fn piece(output: &LogOutput) -> Option<Piece> {
    let error_output = matches!(output, LogOutput::StdErr { .. });
    let bytes: &[u8] = output.as_ref();
    let space = bytes.iter().position(|&b| b == b' ')?;
    let at = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let text = bytes[space + 1..]
        .strip_suffix(b"\n")
        .unwrap_or(&bytes[space + 1..]);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    Some(Piece {
        error_output,
        at,
        text: String::from_utf8_lossy(text).into_owned(),
    })
}

fn inspected(id: &str, found: ContainerInspectResponse) -> Inspected {
    let state = found.state.unwrap_or_default();
    let time = |text: Option<String>| text.and_then(|text| text.parse::<DateTime<Utc>>().ok());
    if state.running != Some(true) {
        return Inspected::Dead {
            code: state.exit_code.unwrap_or_default(),
            out_of_memory: state.oom_killed.unwrap_or_default(),
            at: time(state.finished_at),
        };
    }
    let networks = found
        .network_settings
        .and_then(|settings| settings.networks);
    let address: Option<IpAddr> = networks
        .into_iter()
        .flatten()
        .find_map(|(_, endpoint)| endpoint.ip_address?.parse().ok());
    let network = found.host_config.and_then(|config| config.network_mode);
    let running = Running {
        container: id.to_owned(),
        address,
        sandbox: container::sandbox_of(network.as_deref()),
        started_at: time(state.started_at).unwrap_or(DateTime::UNIX_EPOCH),
    };
    Inspected::Running {
        running,
        pid: state.pid,
        cut_off: false,
    }
}

#[cfg(test)]
mod tests;
