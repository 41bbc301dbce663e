//! A controller that only knows what a builder talks about, over real HTTP. It runs no builds:
//! each test says how they end.

mod wanted;

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use fairway_api::{
    accounts::UserRef,
    apps::AppRef,
    build_orders::{
        BuildLease, BuildOrder, BuildResult, GitAccess, GitAuthorize, GitCredential, GitGrant,
        NewBuild, PushVerdict, QueuedBuild, WaitsFor,
    },
    error::{ApiError, ErrorId},
    ids::{AppId, BuildId, ReleaseId, UserId},
    images::RegistryAccess,
    names::BranchName,
    secret::Secret,
    wanted::Wanted,
};
use tokio::{net::TcpListener, sync::watch};

/// The password that is accepted.
pub(crate) const TOKEN: &str = "token-that-is-accepted";
/// How long any test waits for something that has to come.
pub(crate) const WAIT: Duration = Duration::from_secs(30);

/// A running fake. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Controller {
    shared: Arc<Shared>,
    pub(crate) addr: SocketAddr,
}

struct Shared {
    state: Mutex<Known>,
    changed: watch::Sender<()>,
}

struct Known {
    /// What becomes of a new build by itself.
    script: Script,
    fingerprints: HashSet<String>,
    deploy_branch: Option<BranchName>,
    repository_bytes_max: u64,
    apps: HashMap<String, AppId>,
    builds: Vec<Build>,
    to_claim: Vec<BuildOrder>,
    asked: usize,
    wanted: Wanted,
    sizes: HashMap<AppId, u64>,
    /// How many apps the builder has given up.
    given_up: usize,
}

/// How builds end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Script {
    Release,
    Fail,
    /// The test says.
    Hold,
}

/// A queued build.
#[derive(Clone)]
pub(crate) struct Build {
    pub(crate) id: BuildId,
    pub(crate) new: NewBuild,
    pub(crate) output: Vec<u8>,
    pub(crate) result: Option<BuildResult>,
    pub(crate) verdict: Option<PushVerdict>,
}

impl Controller {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Known {
            script: Script::Release,
            fingerprints: HashSet::new(),
            deploy_branch: None,
            repository_bytes_max: 1024 * 1024 * 1024,
            apps: HashMap::from([("shop".into(), AppId::from_u128(1))]),
            builds: Vec::new(),
            to_claim: Vec::new(),
            asked: 0,
            wanted: Wanted::default(),
            sizes: HashMap::new(),
            given_up: 0,
        };
        let shared = Shared {
            state: Mutex::new(state),
            changed: watch::Sender::new(()),
        };
        let controller = Self {
            shared: Arc::new(shared),
            addr,
        };
        let router = Router::new()
            .route("/internal/git/authorize", post(authorize))
            .route("/internal/builds", post(queue))
            .route("/internal/builds/claim", post(claim))
            .route("/internal/builds/{id}/output", get(follow).post(append))
            .route("/internal/builds/{id}/heartbeat", post(heartbeat))
            .route("/internal/builds/{id}/result", post(result))
            .route("/internal/builds/{id}/verdict", get(verdict))
            .merge(wanted::routes())
            .with_state(controller.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        controller
    }

    pub(crate) fn script(&self, script: Script) {
        self.change(|state| state.script = script);
    }

    pub(crate) fn deploy_branch(&self, branch: &str) {
        self.change(|state| state.deploy_branch = Some(branch.parse().unwrap()));
    }

    pub(crate) fn repository_bytes_max(&self, bytes: u64) {
        self.change(|state| state.repository_bytes_max = bytes);
    }

    pub(crate) fn know_key(&self, fingerprint: &str) {
        self.change(|state| state.fingerprints.insert(fingerprint.into()));
    }

    pub(crate) fn builds(&self) -> Vec<Build> {
        self.state().builds.clone()
    }

    /// How often the controller was asked about a git client.
    pub(crate) fn asked(&self) -> usize {
        self.state().asked
    }

    /// Waits until `found` finds something.
    pub(crate) async fn until<T>(&self, what: &str, found: impl Fn(&[Build]) -> Option<T>) -> T {
        let mut changes = self.shared.changed.subscribe();
        let wait = async {
            loop {
                if let Some(found) = found(&self.state().builds) {
                    return found;
                }
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(WAIT, wait)
            .await
            .unwrap_or_else(|_| panic!("waited for {what}"))
    }

    /// Waits for the `count`th build.
    pub(crate) async fn build(&self, count: usize) -> Build {
        self.until("a build", |builds| builds.get(count - 1).cloned())
            .await
    }

    pub(crate) fn say(&self, build: BuildId, text: &str) {
        self.change(|state| state.build(build).output.extend_from_slice(text.as_bytes()));
    }

    /// Ends a push.
    pub(crate) fn end(&self, build: BuildId, released: bool) {
        self.change(|state| {
            let verdict = if released {
                PushVerdict::Released {
                    release: ReleaseId::generate(),
                    version: 7,
                }
            } else {
                PushVerdict::Failed {
                    reason: "the build failed".into(),
                }
            };
            state.build(build).verdict = Some(verdict);
        });
    }

    /// Gives a build to the builder's worker.
    pub(crate) fn hand_out(&self, build: BuildId, redact: &[&str]) {
        self.change(|state| {
            let new = state
                .builds
                .iter()
                .find(|queued| queued.id == build)
                .map(|b| b.new.clone());
            let (app, commit) = match new {
                Some(new) => (new.app, new.commit),
                None => ("shop".parse().unwrap(), commit_of_nothing()),
            };
            let order = BuildOrder {
                id: build,
                app: AppRef {
                    id: AppId::from_u128(1),
                    name: app,
                },
                commit,
                registry: RegistryAccess {
                    host: "127.0.0.1:1".into(),
                    username: "builder".into(),
                    password: Secret::new("none"),
                    plain_http: true,
                },
                repository: "apps/1".into(),
                previous_image: None,
                env: Default::default(),
                redact: redact.iter().map(|value| Secret::new(*value)).collect(),
            };
            state.to_claim.push(order);
        });
    }

    /// Adds a build that no push asked for, as one that was queued before the builder restarted.
    pub(crate) fn old_build(&self) -> BuildId {
        let id = BuildId::generate();
        self.change(|state| {
            let new = NewBuild {
                app: "shop".parse().unwrap(),
                user: user(),
                builder: "builder-1".parse().unwrap(),
                commit: commit_of_nothing(),
            };
            state.builds.push(Build {
                id,
                new,
                output: Vec::new(),
                result: None,
                verdict: None,
            });
        });
        id
    }

    fn change<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        let changed = change(&mut self.state());
        self.shared.changed.send_replace(());
        changed
    }

    fn state(&self) -> MutexGuard<'_, Known> {
        self.shared.state.lock().unwrap()
    }
}

impl Known {
    fn build(&mut self, id: BuildId) -> &mut Build {
        self.builds.iter_mut().find(|build| build.id == id).unwrap()
    }
}

fn commit_of_nothing() -> fairway_api::builds::PushedCommit {
    fairway_api::builds::PushedCommit {
        id: "1111111111111111111111111111111111111111".parse().unwrap(),
        branch: "main".parse().unwrap(),
        summary: "a commit".into(),
        author: "Ann <ann@example.com>".into(),
    }
}

fn user() -> UserRef {
    UserRef {
        id: UserId::from_u128(9),
        email: "ann@example.com".parse().unwrap(),
    }
}

fn refuse(id: ErrorId, text: &str) -> Response {
    let status = StatusCode::from_u16(id.status()).unwrap();
    (
        status,
        Json(ApiError::new(id, text).with_hint("app apps lists what there is")),
    )
        .into_response()
}

async fn authorize(
    State(controller): State<Controller>,
    Json(ask): Json<GitAuthorize>,
) -> Response {
    let mut state = controller.state();
    state.asked += 1;
    let known = match &ask.credential {
        GitCredential::Basic { password, .. } => password.expose() == TOKEN,
        GitCredential::Key { fingerprint } => state.fingerprints.contains(fingerprint),
    };
    if !known {
        return refuse(ErrorId::Unauthorized, "The credential is not known.");
    }
    let name = ask.app.as_str();
    if name == "readonly" && ask.access == GitAccess::Write {
        return refuse(ErrorId::Forbidden, "You may not push to readonly.");
    }
    let created = name.starts_with("fresh") && !state.apps.contains_key(name);
    if created || name == "readonly" {
        let id = AppId::generate();
        state.apps.entry(name.into()).or_insert(id);
    }
    let Some(id) = state.apps.get(name).copied() else {
        return refuse(ErrorId::NotFound, &format!("There is no app {name}."));
    };
    Json(GitGrant {
        user: user(),
        app: AppRef { id, name: ask.app },
        deploy_branch: state.deploy_branch.clone(),
        repository_bytes_max: state.repository_bytes_max,
        created,
    })
    .into_response()
}

async fn queue(
    State(controller): State<Controller>,
    Json(new): Json<NewBuild>,
) -> Json<QueuedBuild> {
    let id = BuildId::generate();
    let waits_for = controller.change(|state| {
        let before = state
            .builds
            .iter()
            .rev()
            .find(|b| b.verdict.is_none() && b.new.app == new.app);
        let waits_for = before.map(|before| WaitsFor {
            build: before.id,
            user: before.new.user.clone(),
            commit: before.new.commit.id.as_str()[..8].into(),
        });
        state.builds.push(Build {
            id,
            new,
            output: Vec::new(),
            result: None,
            verdict: None,
        });
        waits_for
    });
    let script = controller.state().script;
    match script {
        Script::Release => {
            controller.say(
                id,
                "-----> Building\n       Released v7\nhttp://shop.localhost\n",
            );
            controller.end(id, true);
        }
        Script::Fail => {
            controller.say(
                id,
                "-----> Building\n !     No matching distribution found\n",
            );
            controller.end(id, false);
        }
        Script::Hold => {}
    }
    Json(QueuedBuild { id, waits_for })
}

async fn claim(State(controller): State<Controller>) -> Response {
    let mut changes = controller.shared.changed.subscribe();
    let wait = async {
        loop {
            if let Some(order) = controller.change_quietly(|state| state.to_claim.pop()) {
                return order;
            }
            changes.changed().await.unwrap();
        }
    };
    match tokio::time::timeout(Duration::from_secs(2), wait).await {
        Ok(order) => Json(order).into_response(),
        Err(_) => StatusCode::NO_CONTENT.into_response(),
    }
}

impl Controller {
    fn change_quietly<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.state())
    }
}

async fn append(
    State(controller): State<Controller>,
    Path(id): Path<BuildId>,
    output: Bytes,
) -> Json<BuildLease> {
    controller.change(|state| {
        state.build(id).output.extend_from_slice(&output);
    });
    Json(BuildLease { cancelled: false })
}

async fn heartbeat() -> Json<BuildLease> {
    Json(BuildLease { cancelled: false })
}

/// A failed build ends its push; a successful one would go on to its release.
async fn result(
    State(controller): State<Controller>,
    Path(id): Path<BuildId>,
    Json(result): Json<BuildResult>,
) {
    controller.change(|state| state.build(id).result = Some(result.clone()));
    controller.end(id, matches!(result, BuildResult::Succeeded(_)));
}

#[derive(serde::Deserialize)]
struct From {
    offset: usize,
}

async fn follow(
    State(controller): State<Controller>,
    Path(id): Path<BuildId>,
    Query(From { offset }): Query<From>,
) -> Body {
    let changes = controller.shared.changed.subscribe();
    let stream = futures_util::stream::unfold(
        (controller, changes, offset),
        move |(controller, mut changes, offset)| async move {
            loop {
                let (text, ended) = controller.change_quietly(|state| {
                    let build = state.build(id);
                    (build.output[offset..].to_vec(), build.verdict.is_some())
                });
                if !text.is_empty() {
                    let offset = offset + text.len();
                    return Some((Ok::<_, std::io::Error>(text), (controller, changes, offset)));
                }
                if ended {
                    return None;
                }
                changes.changed().await.unwrap();
            }
        },
    );
    Body::from_stream(stream)
}

async fn verdict(State(controller): State<Controller>, Path(id): Path<BuildId>) -> Response {
    match controller.change_quietly(|state| state.build(id).verdict.clone()) {
        Some(verdict) => Json(verdict).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}
