//! From a spec to a running container: image, container, terminal, start. One call to create and
//! one to start when nothing is missing; what is missing is found out by the refusal.

use std::sync::Arc;

use fairway_api::{
    client::{AttachSocket, Client},
    images::ImageRef,
    phases::Phase,
    pods::PodSpec,
};
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    attach::{self, Session},
    container,
    engine::{Attached, Engine, EngineError, Inspected},
    network::Network,
    plans::Orders,
};

/// How many containers are being created and started at once: more makes each slower and the
/// engine does much of it one after the other anyway.
const STARTS_MAX: usize = 8;
/// How often one start may find something missing and try again: image, network, name.
const TRIES_MAX: u32 = 4;

/// What starting needs of this machine.
#[derive(Debug)]
pub(crate) struct Starter {
    engine: Arc<Engine>,
    client: Client,
    orders: watch::Receiver<Option<Arc<Orders>>>,
    network: Arc<Network>,
    permits: Semaphore,
    shutdown: CancellationToken,
}

/// A container that was started.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) container: String,
    /// As it was right after the start; it may have ended by then.
    pub(crate) inspected: Inspected,
    pub(crate) session: Option<Session>,
}

/// Why a pod could not be started, in words for the user.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotStarted(String);

impl From<EngineError> for NotStarted {
    fn from(error: EngineError) -> Self {
        Self(match &error {
            EngineError::Refused { message, .. } => explain(message),
            other => other.to_string(),
        })
    }
}

impl Starter {
    pub(crate) fn new(
        engine: Arc<Engine>,
        client: Client,
        orders: watch::Receiver<Option<Arc<Orders>>>,
        network: Arc<Network>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            engine,
            client,
            orders,
            network,
            permits: Semaphore::new(STARTS_MAX),
            shutdown,
        }
    }

    /// Starts a pod. `cancel` ends it while it waits or pulls; a container that exists by then is
    /// started all the same, so that it is never unknown whether there is one.
    pub(crate) async fn start(
        &self,
        spec: &PodSpec,
        run: u32,
        cancel: &CancellationToken,
    ) -> Result<Started, NotStarted> {
        let mut socket =
            match &spec.attach {
                None => None,
                Some(attach) => {
                    let dialed = cancel
                        .run_until_cancelled(self.client.attach_pod(attach.id))
                        .await;
                    let dialed = dialed.ok_or_else(cancelled)?;
                    Some(dialed.map_err(|error| {
                        NotStarted(format!("cannot reach its terminal: {error}"))
                    })?)
                }
            };
        let started = self.start_container(spec, run, cancel, &mut socket).await;
        if let (Err(error), Some(mut socket)) = (&started, socket) {
            attach::fail(&mut socket, error.to_string()).await;
        }
        started
    }

    /// Takes the terminal once the container runs.
    async fn start_container(
        &self,
        spec: &PodSpec,
        run: u32,
        cancel: &CancellationToken,
        socket: &mut Option<AttachSocket>,
    ) -> Result<Started, NotStarted> {
        let began = Instant::now();
        let container = self.create(spec, run, cancel).await?;
        let created = Instant::now();
        Phase::StartCreate.log(spec.id, created - began);
        match self.start_created(spec, &container, socket).await {
            Ok(started) => {
                Phase::StartRun.log(spec.id, created.elapsed());
                Ok(started)
            }
            Err(error) => {
                // It never ran, so it has nothing to tell; its name is needed for the next try.
                if let Err(error) = self.engine.remove(&container).await {
                    tracing::warn!(container, "cannot remove what did not start: {error}");
                }
                Err(error)
            }
        }
    }

    async fn create(
        &self,
        spec: &PodSpec,
        run: u32,
        cancel: &CancellationToken,
    ) -> Result<String, NotStarted> {
        let instance = self.engine.instance();
        let name = container::name(instance, spec, run);
        for _ in 0..TRIES_MAX {
            let _permit = cancel
                .run_until_cancelled(self.permits.acquire())
                .await
                .ok_or_else(cancelled)?;
            let joined = cancel.run_until_cancelled(self.network.joined()).await;
            let joined = joined.ok_or_else(cancelled)?.map_err(NotStarted)?;
            let body = container::body(instance, spec, run, &joined);
            let created = self.engine.create(&name, body).await;
            let error = match created {
                Ok(container) => return Ok(container),
                Err(error) => error,
            };
            match error.status() {
                Some(404) if error.message().to_lowercase().contains("no such image") => {
                    drop(_permit);
                    cancel
                        .run_until_cancelled(self.pull(&spec.image))
                        .await
                        .ok_or_else(cancelled)??;
                }
                Some(404) => self.network.lost(),
                Some(409) if self.engine.free_name(&name).await? => {}
                _ => return Err(error.into()),
            }
        }
        Err(NotStarted(
            "its image or network vanishes as soon as it is there; see the engine's log".into(),
        ))
    }

    async fn pull(&self, image: &ImageRef) -> Result<(), EngineError> {
        let orders = self.orders.borrow().clone();
        self.engine
            .pull(image, orders.as_ref().map(|orders| &orders.registry))
            .await
    }

    async fn start_created(
        &self,
        spec: &PodSpec,
        container: &str,
        socket: &mut Option<AttachSocket>,
    ) -> Result<Started, NotStarted> {
        let _permit = self.permits.acquire().await;
        let tty = spec.attach.as_ref().is_some_and(|attach| attach.tty);
        // Before the start, so that nothing of its output is missed.
        let mut attached = self.attach(container, tty, socket).await?;
        match self.engine.start(container).await {
            Err(error) if error.status() == Some(404) && error.message().contains("network") => {
                self.network.lost();
                self.network.joined().await.map_err(NotStarted)?;
                // A start that fails closes what was attached.
                attached = self.attach(container, tty, socket).await?;
                self.engine.start(container).await?;
            }
            other => other?,
        }
        let session = attached.zip(socket.take()).map(|(attached, socket)| {
            let (engine, container) = (self.engine.clone(), container.to_owned());
            attach::join(
                engine,
                container,
                tty,
                attached,
                socket,
                self.shutdown.clone(),
            )
        });
        let inspected = self.engine.inspect_patiently(container).await;
        Ok(Started {
            container: container.to_owned(),
            inspected,
            session,
        })
    }

    /// Connects to the process if somebody waits for it.
    async fn attach(
        &self,
        container: &str,
        tty: bool,
        socket: &Option<AttachSocket>,
    ) -> Result<Option<Attached>, EngineError> {
        match socket {
            Some(_) => self.engine.attach(container, tty).await.map(Some),
            None => Ok(None),
        }
    }
}

fn cancelled() -> NotStarted {
    NotStarted("it is not wanted any more".into())
}

/// The engine's words for a failed start, without its own layers around the one that matters.
fn explain(message: &str) -> String {
    if message.contains("No command specified") {
        return "the image has no command: say in a Procfile or with CMD what to run".into();
    }
    let marks = [
        "unable to start container process: ",
        "starting container process caused: ",
    ];
    let inner = marks
        .iter()
        .find_map(|mark| message.split(mark).nth(1))
        .unwrap_or(message);
    let inner = inner.strip_suffix(": unknown").unwrap_or(inner);
    inner
        .strip_prefix("exec: ")
        .map_or_else(|| inner.to_owned(), |rest| format!("cannot run {rest}"))
}

#[cfg(test)]
mod tests {
    use super::explain;

    #[test]
    fn reasons_are_the_innermost_ones() {
        let table = [
            (
                "OCI runtime create failed: runc create failed: unable to start container \
                 process: exec: \"gunicorn\": executable file not found in $PATH: unknown",
                "cannot run \"gunicorn\": executable file not found in $PATH",
            ),
            (
                "OCI runtime create failed: container_linux.go:380: starting container process \
                 caused: exec: \"./run\": permission denied: unknown",
                "cannot run \"./run\": permission denied",
            ),
            (
                "No command specified",
                "the image has no command: say in a Procfile or with CMD what to run",
            ),
            (
                "Minimum memory limit allowed is 6MB",
                "Minimum memory limit allowed is 6MB",
            ),
        ];
        for (given, wanted) in table {
            assert_eq!(explain(given), wanted);
        }
    }
}
