//! From a spec to a running container: image, container, terminal, start. One call to create and
//! one to start when nothing is missing; what is missing is found out by the refusal.

use std::sync::Arc;

use bollard::models::Mount;
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
    container::{self, Net, Part},
    engine::{Attached, Engine, EngineError, Inspected},
    network::Network,
    plans::Orders,
    sandbox::{Lease, Sandboxes, SharedNet},
    volumes::Volumes,
};

/// How many containers are being created and started at once: more makes each slower and the
/// engine does much of it one after the other anyway.
const STARTS_MAX: usize = 8;
/// How often one start may find something missing and try again: image, network, name.
const TRIES_MAX: u32 = 4;

/// What the engine says when its network is full.
pub(crate) const NO_ADDRESSES: &str = "no available IPv4 addresses";

/// What starting needs of this machine.
#[derive(Debug)]
pub(crate) struct Starter {
    engine: Arc<Engine>,
    client: Client,
    orders: watch::Receiver<Option<Arc<Orders>>>,
    network: Arc<Network>,
    pub(crate) sandboxes: Arc<Sandboxes>,
    volumes: Arc<Volumes>,
    permits: Semaphore,
    shutdown: CancellationToken,
}

/// A container that was started.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) container: String,
    /// As it was right after the start; it may have ended by then.
    pub(crate) inspected: Inspected,
    /// Whose network it has, if not its own.
    pub(crate) sandbox: Option<String>,
    pub(crate) session: Option<Session>,
}

/// Where a container is to have its network from.
#[derive(Debug, Clone)]
pub(crate) enum NetWish {
    /// It is the only one of its pod; `kept` is the sandbox that it has from its last run.
    Alone { kept: Option<String> },
    /// It is one of several.
    Shared(Arc<SharedNet>),
}

/// Where a container that is being started has its network from.
enum Ground {
    Own,
    Lease(Lease),
    /// The sandbox of its pod.
    Shared(String),
}

impl Ground {
    /// Whose network the container has, if not its own; it runs, and has it until it gives it back.
    fn keep(self) -> Option<String> {
        match self {
            Self::Own => None,
            Self::Lease(lease) => Some(lease.keep()),
            Self::Shared(id) => Some(id),
        }
    }
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
        volumes: Arc<Volumes>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            sandboxes: Arc::new(Sandboxes::new(engine.clone(), network.clone())),
            engine,
            client,
            orders,
            network,
            volumes,
            permits: Semaphore::new(STARTS_MAX),
            shutdown,
        }
    }

    /// Starts a container. `cancel` ends it while it waits or pulls; a container that exists by then
    /// is started all the same, so that it is never unknown whether there is one.
    pub(crate) async fn start(
        &self,
        part: &Part,
        run: u32,
        net: &NetWish,
        cancel: &CancellationToken,
    ) -> Result<Started, NotStarted> {
        let _busy = self.sandboxes.busy();
        let mut socket =
            match &part.spec.attach {
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
        let started = self
            .start_container(part, run, net.clone(), cancel, &mut socket)
            .await;
        if let (Err(error), Some(mut socket)) = (&started, socket) {
            attach::fail(&mut socket, error.to_string()).await;
        }
        started
    }

    /// Takes the terminal once the container runs.
    async fn start_container(
        &self,
        part: &Part,
        run: u32,
        mut net: NetWish,
        cancel: &CancellationToken,
        socket: &mut Option<AttachSocket>,
    ) -> Result<Started, NotStarted> {
        let spec = &part.spec;
        let mut tries = 0;
        loop {
            tries += 1;
            let began = Instant::now();
            // Held until it has started: the engine knows then who has which volume.
            let prepared = self.volumes.prepare(spec).await.map_err(NotStarted)?;
            let mounts = &prepared.mounts;
            let (container, ground) = self.create(part, run, (&net, mounts), cancel).await?;
            self.volumes.settle(spec, &container).await;
            let created = Instant::now();
            Phase::StartCreate.log(spec.id, created - began);
            let error = match self.start_created(spec, &container, socket).await {
                Ok(mut started) => {
                    Phase::StartRun.log(spec.id, created.elapsed());
                    started.sandbox = ground.keep();
                    return Ok(started);
                }
                Err(error) => error,
            };
            // It never ran, so it has nothing to tell; its name is needed for the next try.
            if let Err(error) = self.engine.remove(&container).await {
                tracing::warn!(container, "cannot remove what did not start: {error}");
            }
            if !self.is_worth_another_try(&error, &ground, tries).await {
                return Err(error);
            }
            if let NetWish::Alone { kept } = &mut net {
                *kept = None;
            }
        }
    }

    /// Whether it was the network and the next try has another one. Of those alone there are as many
    /// tries as there are spares.
    async fn is_worth_another_try(&self, error: &NotStarted, ground: &Ground, tries: u32) -> bool {
        let sandbox = match ground {
            Ground::Own => {
                return error.0.contains(NO_ADDRESSES) && self.sandboxes.give_up().await;
            }
            Ground::Lease(lease) => lease.id(),
            Ground::Shared(_) if tries >= TRIES_MAX => return false,
            Ground::Shared(id) => id,
        };
        let mark = self.engine.sandbox_mark(sandbox).await;
        mark.is_ok_and(|mark| mark.is_none())
    }

    /// Makes the container, in the sandbox of its pod, or takes one for it if there is one.
    async fn create(
        &self,
        part: &Part,
        run: u32,
        (wish, mounts): (&NetWish, &[Mount]),
        cancel: &CancellationToken,
    ) -> Result<(String, Ground), NotStarted> {
        let instance = self.engine.instance();
        let name = container::name(instance, &part.spec, run);
        let mut ground = Ground::Own;
        for _ in 0..TRIES_MAX {
            let _permit = cancel
                .run_until_cancelled(self.permits.acquire())
                .await
                .ok_or_else(cancelled)?;
            let joined = cancel.run_until_cancelled(self.network.joined()).await;
            let joined = joined.ok_or_else(cancelled)?.map_err(NotStarted)?;
            ground = match (wish, ground) {
                (NetWish::Shared(net), _) => Ground::Shared(net.get(&joined).await?),
                (NetWish::Alone { .. }, Ground::Lease(lease)) if lease.is_on(&joined) => {
                    Ground::Lease(lease)
                }
                (NetWish::Alone { kept }, _) => {
                    let taken = self
                        .sandboxes
                        .take(&part.spec, &joined, kept.as_deref())
                        .await;
                    taken.map_or(Ground::Own, Ground::Lease)
                }
            };
            let net = match &ground {
                Ground::Own => Net::Own(&joined),
                Ground::Lease(lease) => Net::Sandbox(lease.id()),
                Ground::Shared(id) => Net::Sandbox(id),
            };
            let body = container::mounting(container::body(instance, part, run, net), mounts);
            let created = self.engine.create(&name, body).await;
            let error = match created {
                Ok(container) => return Ok((container, ground)),
                Err(error) => error,
            };
            match error.status() {
                Some(404) if error.lacks_image() => {
                    drop(_permit);
                    cancel
                        .run_until_cancelled(self.pull(&part.spec.image))
                        .await
                        .ok_or_else(cancelled)??;
                }
                // The sandbox has vanished.
                Some(404) if !matches!(ground, Ground::Own) => ground = Ground::Own,
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
            sandbox: None,
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
