//! Git push in: who may do what with which repository, and the run of git that serves it. The
//! transports in `ssh` and `http` carry bytes and know nothing else; `hook` decides what
//! becomes of a push.

pub(crate) mod command;
pub(crate) mod hook;
pub(crate) mod http;
pub(crate) mod pack;
pub(crate) mod pushes;
pub(crate) mod repositories;
pub(crate) mod ssh;
pub(crate) mod unsettled;

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, LazyLock, atomic::AtomicBool},
    time::Duration,
};

use fairway_api::{
    build_orders::{GitAccess, GitAuthorize, GitCredential, GitGrant, RepositorySize},
    client::{Client, ClientError},
    error::{ApiError, ErrorId},
    ids::AppId,
    names::{AppName, BuilderName},
    phases::Phase,
};
use tokio::{
    process::Command,
    sync::{OwnedRwLockReadGuard, OwnedSemaphorePermit, RwLock, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    command::Service,
    pack::{Ended, Exchange, Invocation, Life, Mode},
    pushes::{Push, Pushes},
    repositories::Repositories,
    unsettled::Unsettled,
};
use crate::source::Sources;

/// The most git processes at once. Each takes some memory, and a push holds one until its release
/// is live; who comes later is told to try again.
const GIT_PROCESSES_MAX: usize = 200;

/// How long an app that was made for a push waits for it. A large push takes longer to pack; it then
/// finds the app made anew.
const FIRST_PUSH_WAIT_MAX: Duration = Duration::from_secs(60);
const MIB: u64 = 1024 * 1024;

/// The name of an app that is asked for when only the key matters. Whether it exists makes no
/// difference.
static NO_APP: LazyLock<AppName> =
    LazyLock::new(|| "any".parse().expect("it keeps the rule of app names"));

/// What all receiving shares.
pub(crate) struct Receiver {
    pub(crate) client: Client,
    pub(crate) builder: BuilderName,
    pub(crate) repositories: Arc<Repositories>,
    pub(crate) pushes: Pushes,
    pub(crate) sources: Arc<Sources>,
    pub(crate) unsettled: Arc<Unsettled>,
    /// Where hooks find us.
    pub(crate) hook_socket: PathBuf,
    /// Pushes that are being dealt with, also those whose client has left.
    pub(crate) tasks: TaskTracker,
    pub(crate) shutdown: CancellationToken,
    processes: Arc<Semaphore>,
    /// Shared by pushes from when the controller is asked about them until they are counted, and
    /// alone to whoever gives up an app: what is about to be pushed to must not be given up.
    arrivals: Arc<RwLock<()>>,
    /// Housekeeping runs for one repository at a time, so that it never takes the whole machine.
    housekeeping: Arc<Semaphore>,
}

/// Where in the data folder a receiver keeps what.
pub(crate) struct Places {
    pub(crate) repositories: Repositories,
    pub(crate) unsettled: Unsettled,
    pub(crate) hook_socket: PathBuf,
}

/// Why a git client is not served. The text is for the user, over either transport.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Refusal {
    pub(crate) id: ErrorId,
    pub(crate) text: String,
}

/// A credential that was accepted for an app.
pub(crate) struct Access {
    pub(crate) grant: GitGrant,
    pub(crate) service: Service,
    /// When it was asked for.
    pub(crate) since: Instant,
    /// Keeps the app until the push is counted.
    arriving: Option<OwnedRwLockReadGuard<()>>,
}

impl Receiver {
    pub(crate) fn new(
        client: Client,
        builder: BuilderName,
        places: Places,
        pushes: Pushes,
        sources: Arc<Sources>,
    ) -> Self {
        Self {
            client,
            builder,
            repositories: Arc::new(places.repositories),
            pushes,
            sources,
            unsettled: Arc::new(places.unsettled),
            hook_socket: places.hook_socket,
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            processes: Arc::new(Semaphore::new(GIT_PROCESSES_MAX)),
            arrivals: Arc::default(),
            housekeeping: Arc::new(Semaphore::new(1)),
        }
    }

    /// Asks the controller.
    pub(crate) async fn authorize(
        &self,
        credential: GitCredential,
        app: AppName,
        service: Service,
        from: Option<IpAddr>,
    ) -> Result<Access, Refusal> {
        let since = Instant::now();
        let arriving = match service.access() {
            GitAccess::Write => Some(Arc::clone(&self.arrivals).read_owned().await),
            GitAccess::Read => None,
        };
        let ask = GitAuthorize {
            credential,
            app,
            access: service.access(),
            from,
        };
        match self.client.authorize_git(&ask).await {
            Ok(grant) => {
                if grant.created {
                    self.pushes.announce_created(grant.app.id);
                }
                Ok(Access {
                    grant,
                    service,
                    since,
                    arriving,
                })
            }
            Err(error) => Err(Refusal::from_client(error)),
        }
    }

    /// Whether a key belongs to anybody. Asked about an app that nobody has: the answer for a bad
    /// credential differs from that for a bad app. While the controller is away every key counts as
    /// known, and the command that follows is told why it cannot be served.
    pub(crate) async fn knows_key(&self, fingerprint: &str, from: IpAddr) -> bool {
        let ask = GitAuthorize {
            credential: GitCredential::Key {
                fingerprint: fingerprint.to_owned(),
            },
            app: NO_APP.clone(),
            access: GitAccess::Read,
            from: Some(from),
        };
        let answer = self.client.authorize_git(&ask).await;
        let refused = answer.as_ref().err().and_then(ClientError::api);
        refused.is_none_or(|error| error.id != ErrorId::Unauthorized)
    }

    /// Room for one more git process.
    fn admit(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let unavailable = |text: &str| Refusal {
            id: ErrorId::Unavailable,
            text: text.into(),
        };
        if self.shutdown.is_cancelled() {
            let text = "Fairway is stopping here; try again in a minute.";
            return Err(unavailable(text));
        }
        Arc::clone(&self.processes)
            .try_acquire_owned()
            .map_err(|_| {
                unavailable("Too many pushes and fetches are under way; try again in a minute.")
            })
    }

    /// Starts git for an authorised client.
    pub(crate) async fn open(
        self: &Arc<Self>,
        access: Access,
        mode: Mode,
        protocol: Option<&str>,
    ) -> Result<Exchange, Refusal> {
        let permit = self.admit()?;
        let Access {
            grant,
            service,
            since,
            arriving,
        } = access;
        let (repository, settings) = self.prepare(&grant, service, mode).await?;
        let mut invocation = Invocation {
            service,
            settings,
            repository: &repository,
            mode,
            protocol,
            environment: Vec::new(),
            size_note: None,
        };
        if service == Service::UploadPack || mode == Mode::Advertise {
            let app = grant.app.id;
            if service == Service::ReceivePack && grant.created {
                let receiver = Arc::clone(self);
                self.tasks
                    .spawn(async move { receiver.expect_push(app).await });
            }
            let ended = move |_| {
                if service == Service::ReceivePack {
                    Phase::Refs.log(app, since.elapsed());
                }
                drop(permit);
            };
            let started = pack::start(&invocation, self.life(Arc::default()), ended);
            return started.map_err(|error| cannot_start(&error));
        }
        invocation.size_note = Some(size_note(&grant));
        let push = self.pushes.begin(grant, repository.clone(), since);
        drop(arriving);
        invocation.environment = vec![
            (
                hook::wire::SOCKET_VARIABLE,
                self.hook_socket.display().to_string(),
            ),
            (hook::wire::TOKEN_VARIABLE, push.token().to_owned()),
        ];
        let receiver = Arc::clone(self);
        let life = self.life(push.in_hook());
        let ended = move |ended: Ended| {
            push.log_end();
            let tasks = receiver.tasks.clone();
            let was_probe = mode == Mode::Stateless && ended.succeeded && !ended.answered;
            tasks.spawn(async move {
                if was_probe {
                    drop(permit);
                    receiver.after_probe(push).await;
                } else {
                    receiver.after_push(push, ended.succeeded).await;
                    drop(permit);
                }
            });
        };
        pack::start(&invocation, life, ended).map_err(|error| cannot_start(&error))
    }

    fn life(&self, in_hook: Arc<AtomicBool>) -> Life {
        Life {
            in_hook,
            tasks: self.tasks.clone(),
            shutdown: self.shutdown.clone(),
        }
    }

    /// Finds or makes the repository, and says what git shall be told about it.
    async fn prepare(
        &self,
        grant: &GitGrant,
        service: Service,
        mode: Mode,
    ) -> Result<(PathBuf, Vec<String>), Refusal> {
        let (repositories, app) = (Arc::clone(&self.repositories), grant.app.id);
        let limit = (service == Service::ReceivePack && mode != Mode::Advertise)
            .then_some(grant.repository_bytes_max);
        let prepare = move || {
            let repository = repositories.ensure(app)?;
            let mut settings = repositories.git_args();
            if let Some(limit) = limit {
                // Zero would mean no limit to git; one byte refuses every pack.
                let left = limit
                    .saturating_sub(repositories::size_bytes(&repository))
                    .max(1);
                settings.extend(["-c".into(), format!("receive.maxInputSize={left}")]);
            }
            anyhow::Ok((repository, settings))
        };
        match tokio::task::spawn_blocking(prepare)
            .await
            .map_err(anyhow::Error::from)
            .flatten()
        {
            Ok(prepared) => Ok(prepared),
            Err(error) => {
                tracing::error!(%app, "cannot open the repository: {error:#}");
                Err(Refusal::internal())
            }
        }
    }

    /// Once git has moved the refs, or not.
    async fn after_push(&self, push: Push, succeeded: bool) {
        let (repository, deploy) = (push.repository().to_owned(), push.deploy_branch().cloned());
        if succeeded && push.reached_hook() {
            let path = repository.clone();
            let (unsettled, build) = (Arc::clone(&self.unsettled), push.build());
            let settle = move || {
                if let Some(build) = build {
                    unsettled.forget_if_moved(build, &path);
                }
                repositories::settle_head(&path, deploy.as_ref())
            };
            let settled = tokio::task::spawn_blocking(settle).await;
            if let Err(error) = settled.map_err(anyhow::Error::from).flatten() {
                tracing::warn!("cannot set HEAD of {}: {error:#}", repository.display());
            }
        }
        let housekeep = succeeded && push.reached_hook();
        let app = push.app();
        let for_nothing = push.created() && push.build().is_none();
        // From here on the next push in line may trust what it reads from the repository.
        drop(push);
        if for_nothing {
            self.give_up_if_empty(app, repository.clone()).await;
        }
        if housekeep {
            self.keep_house(&repository).await;
            self.report_size(app, repository).await;
        }
    }

    /// Over HTTP git asks with an empty push whether it may, before it sends a large one. The app that
    /// was made is for the one that follows.
    async fn after_probe(&self, push: Push) {
        let app = push.app();
        let created = push.created();
        if created {
            self.pushes.announce_created(app);
        }
        drop(push);
        if created {
            self.expect_push(app).await;
        }
    }

    /// Over HTTP an app that a push makes is there before the push; git may find out by then that it
    /// has nothing to push.
    async fn expect_push(&self, app: AppId) {
        tokio::select! {
            () = tokio::time::sleep(FIRST_PUSH_WAIT_MAX) => {}
            () = self.shutdown.cancelled() => {}
        }
        if self.pushes.take_created(app) {
            self.give_up_if_empty(app, self.repositories.folder(app))
                .await;
        }
    }

    /// Has the controller remove an app that a push made and left empty: nobody asked for the app
    /// but for the sake of the push.
    async fn give_up_if_empty(&self, app: AppId, repository: PathBuf) {
        let _alone = self.arrivals.write().await;
        if self.pushes.has(app) {
            return;
        }
        let look = move || repositories::is_empty(&repository);
        let empty = tokio::task::spawn_blocking(look).await;
        if !empty.unwrap_or(false) {
            return;
        }
        if let Err(error) = self.client.give_up_app(app).await {
            let error = anyhow::Error::new(error);
            tracing::warn!(%app, "cannot give up an app that a push made: {error:#}");
        }
    }

    /// Tells the controller how large a repository has become. A push tells it again.
    async fn report_size(&self, app: AppId, repository: PathBuf) {
        let measure = move || repositories::size_bytes(&repository);
        let Ok(bytes) = tokio::task::spawn_blocking(measure).await else {
            return;
        };
        let size = RepositorySize { app, bytes };
        if let Err(error) = self.client.report_repository(&size).await {
            let error = anyhow::Error::new(error);
            tracing::warn!(%app, "cannot tell the size of a repository: {error:#}");
        }
    }

    /// Lets git pack what has piled up. Does nothing most of the time.
    async fn keep_house(&self, repository: &std::path::Path) {
        let Ok(_permit) = self.housekeeping.acquire().await else {
            return;
        };
        let mut git = Command::new("git");
        git.args(self.repositories.git_args())
            .args(["gc", "--auto", "--quiet"]);
        pack::environment(&mut git);
        git.env("GIT_DIR", repository).kill_on_drop(true);
        let done = tokio::select! {
            done = git.output() => done,
            () = self.shutdown.cancelled() => return,
        };
        match done {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                tracing::warn!("git gc in {}: {}", repository.display(), said.trim());
            }
            Err(error) => tracing::warn!("cannot run git gc: {error:#}"),
        }
    }
}

impl Refusal {
    fn from_client(error: ClientError) -> Self {
        match error {
            ClientError::Api(ApiError {
                id: ErrorId::InternalServerError,
                ..
            }) => Self::internal(),
            ClientError::Api(ApiError {
                id, message, hint, ..
            }) => {
                let hint = hint.map(|hint| format!("\n{hint}")).unwrap_or_default();
                Self {
                    id,
                    text: format!("{message}{hint}"),
                }
            }
            ClientError::Unreachable { .. } | ClientError::NotOurs { .. } => {
                let error = anyhow::Error::new(error);
                tracing::warn!("cannot ask the controller about a git client: {error:#}");
                Self {
                    id: ErrorId::Unavailable,
                    text: "Fairway cannot check access right now; try again in a minute.".into(),
                }
            }
        }
    }

    fn internal() -> Self {
        Self {
            id: ErrorId::InternalServerError,
            text: "Something went wrong inside Fairway; its operator finds more in the log.".into(),
        }
    }
}

/// What whoever pushes too much is told beside git's own words.
fn size_note(grant: &GitGrant) -> String {
    format!(
        " !     The git repository of an app may have {} MiB; nothing was stored.\n \
         !     Take large files out of the commits that you push, for example with git rebase or \
         git filter-repo, and push again.\n",
        grant.repository_bytes_max / MIB
    )
}

fn cannot_start(error: &std::io::Error) -> Refusal {
    tracing::error!("cannot start git: {error:#}");
    Refusal::internal()
}
