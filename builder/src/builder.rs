//! A builder as a whole: its parts joined, started and stopped.

use std::{
    fs,
    net::SocketAddr,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use axum::Router;
use fairway_api::images::RegistryAccess;
use tokio::{net::UnixListener, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    Config,
    build::BuildTools,
    prune::Pruner,
    receive::{
        Places, Receiver, hook, http,
        pushes::Pushes,
        repositories::Repositories,
        ssh::SshServer,
        unsettled::{self, Unsettled},
    },
    source::Sources,
    stack::Progress,
    worker::{InHand, Worker},
};

/// How long pushes that are told to stop may take to do so.
const STOP_WAIT_MAX: Duration = Duration::from_secs(10);
/// The longest path that a Unix socket can have, in bytes.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Receives git pushes and builds images.
pub struct Builder {
    receiver: Arc<Receiver>,
    ssh: SshServer,
    hooks: UnixListener,
    worker: Worker,
    pruner: Pruner,
    tools: Arc<BuildTools>,
    /// Holds the hook socket where the data folder's path is too long for one.
    _socket_folder: Option<SocketFolder>,
}

impl Builder {
    /// Opens the data folder and listens for git over SSH. Git over HTTP is served by
    /// [`Self::http_router`].
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        let tools = Arc::new(BuildTools::new(&config)?);
        let data = config.data_dir.clone();
        fs::create_dir_all(&data).with_context(|| format!("create {}", data.display()))?;
        let data = data
            .canonicalize()
            .with_context(|| format!("find {}", data.display()))?;
        let ssh = SshServer::bind(config.listen_ssh, &data).await?;
        let (socket, socket_folder) = socket_path(&data)?;
        let hooks = listen(&socket).with_context(|| format!("listen on {}", socket.display()))?;
        let pushes = Pushes::default();
        let sources = Arc::new(Sources::open(&data, pushes.clone())?);
        let places = Places {
            repositories: Repositories::open(&data, &config.hook_program, &config.hook_args)?,
            unsettled: Unsettled::open(&data)?,
            hook_socket: socket,
        };
        let receiver = Arc::new(Receiver::new(
            config.client.clone(),
            config.name.clone(),
            places,
            pushes,
            Arc::clone(&sources),
        ));
        let pruner = Pruner {
            client: config.client.clone(),
            repositories: Arc::clone(&receiver.repositories),
            pushes: receiver.pushes.clone(),
            tools: Arc::clone(&tools),
            reserve: config.build.disk_reserve,
        };
        let worker = Worker {
            client: config.client,
            builder: config.name,
            tools: Arc::clone(&tools),
            sources,
            builds_at_once: config.builds_at_once,
            in_hand: InHand::default(),
        };
        Ok(Self {
            receiver,
            ssh,
            hooks,
            worker,
            pruner,
            tools,
            _socket_folder: socket_folder,
        })
    }

    /// Git over HTTP, to be merged into the server's listener: `/{app}.git/info/refs` and the two
    /// services beside it. Has no fallback.
    pub fn http_router(&self) -> Router {
        http::router(Arc::clone(&self.receiver))
    }

    /// Where git over SSH is served.
    pub fn ssh_addr(&self) -> anyhow::Result<SocketAddr> {
        self.ssh.local_addr()
    }

    /// Makes the stack images and puts them into the registry, so that the first push does not
    /// wait for it. `progress` gets a line at a time.
    pub async fn prepare(
        &self,
        registry: &RegistryAccess,
        progress: Progress<'_>,
    ) -> anyhow::Result<()> {
        self.worker.tools.prepare(registry, progress).await
    }

    /// Serves and builds until `shutdown`. Pushes and builds that are under way are told to stop
    /// and leave nothing half-done.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let Self {
            receiver,
            ssh,
            hooks,
            worker,
            pruner,
            tools,
            _socket_folder,
        } = self;
        let stop = receiver.shutdown.clone();
        let tending = tokio::spawn({
            let stop = stop.clone();
            async move { tools.tend(stop).await }
        });
        // Before the first claim: later builds of their apps wait for them.
        unsettled::resume(&receiver);
        let building = tokio::spawn(worker.run(stop.clone()));
        let pruning = tokio::spawn({
            let stop = stop.clone();
            async move {
                stop.run_until_cancelled(pruner.run()).await;
            }
        });
        let served = tokio::select! {
            served = ssh.serve(Arc::clone(&receiver)) => served,
            served = hook::serve(Arc::clone(&receiver), hooks) => served,
            () = shutdown.cancelled() => Ok(()),
        };
        stop.cancel();
        receiver.tasks.close();
        let stopped = async {
            receiver.tasks.wait().await;
            for task in [building, tending, pruning] {
                if let Err(error) = task.await {
                    tracing::error!("a part of the builder ended badly: {error:#}");
                }
            }
        };
        if timeout(STOP_WAIT_MAX, stopped).await.is_err() {
            tracing::warn!("some pushes or builds did not stop in time");
        }
        served
    }
}

/// A folder of our own outside the data folder; it goes away with its drop.
struct SocketFolder(PathBuf);

impl Drop for SocketFolder {
    fn drop(&mut self) {
        // A leftover in the temporary folder does no harm.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Where hooks find the builder: in the data folder, or in a temporary one if its path is too long
/// for a socket.
fn socket_path(data: &Path) -> anyhow::Result<(PathBuf, Option<SocketFolder>)> {
    let socket = data.join("hook.sock");
    if socket.as_os_str().as_bytes().len() <= SOCKET_PATH_BYTES_MAX {
        return Ok((socket, None));
    }
    let folder = std::env::temp_dir().join(format!("fairway-{:032x}", rand::random::<u128>()));
    fs::create_dir(&folder).with_context(|| format!("create {}", folder.display()))?;
    let folder = SocketFolder(folder);
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o700))?;
    Ok((folder.0.join("hook.sock"), Some(folder)))
}

/// Listens where a killed builder may have listened before. Only this user may connect.
fn listen(socket: &Path) -> std::io::Result<UnixListener> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}
