//! A whole controller for tests: the real router on a real database in a folder of its own.

use std::{collections::BTreeMap, sync::OnceLock};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use fairway_api::{
    accounts::AccountRole,
    build_orders::{BuildOrder, BuildResult, BuiltImage, BuiltProcess, QueuedBuild},
    builds::BuildPhase,
    ids::{BuildId, UserId},
    images::{ImageRef, RegistryAccess},
    names::ProcessType,
    network::VXLAN_PORT_DEFAULT,
    secret::Secret,
};
use fairway_scheduler::policy::Policy;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::{
    Config, Controller, Role, RoleCredential, auth,
    state::AppState,
    store::{
        accounts::{self, AccountRow},
        columns::now,
        tokens,
    },
};

/// The password of every account of a [`Rig`].
pub(crate) const PASSWORD: &str = "correct horse battery staple";
pub(crate) const BUILDER: &str = "builder-token";
pub(crate) const BUILDER_2: &str = "builder-2-token";
pub(crate) const NODE: &str = "node-token";
pub(crate) const ROUTER: &str = "router-token";

/// A controller with three accounts and a credential for each role.
pub(crate) struct Rig {
    pub dir: TempDir,
    pub controller: Controller,
    pub router: Router,
    /// Tokens of the accounts `admin@`, `alice@` and `bob@example.com`.
    pub admin: String,
    pub alice: String,
    pub bob: String,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The body, of an answer that must have this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }
}

pub(crate) fn config(dir: &TempDir) -> Config {
    let role = |role, token| RoleCredential {
        role,
        token: Secret::new(token),
    };
    Config {
        data_dir: dir.path().into(),
        base_domain: "apps.test".parse().unwrap(),
        public_url: "http://fairway.test:7000".parse().unwrap(),
        router_http_port: 8080,
        ssh_host: "fairway.test".into(),
        ssh_port: 2222,
        registry: RegistryAccess {
            host: "127.0.0.1:5000".into(),
            username: "fairway".into(),
            password: Secret::new("registry-password"),
            plain_http: true,
        },
        cluster_addresses: vec!["fairway.test:7001".into()],
        role_credentials: vec![
            role(Role::Builder("one".parse().unwrap()), BUILDER),
            role(Role::Builder("two".parse().unwrap()), BUILDER_2),
            role(Role::Node("one".parse().unwrap()), NODE),
            role(Role::Router("one".parse().unwrap()), ROUTER),
        ],
        pod_network: None,
        vxlan_port: VXLAN_PORT_DEFAULT,
        create_on_push: false,
        repository_bytes_max: 1_000_000,
        placement: Policy::default(),
        node_lost_after: std::time::Duration::from_secs(crate::NODE_LOST_SECS_DEFAULT.into()),
        images_kept: 2,
    }
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(&dir);
        change(&mut config);
        let controller = Controller::bind(config).await.unwrap();
        let router = controller.router().fallback(crate::not_found);
        let state = controller.state().clone();
        let admin = account(&state, "admin@example.com", AccountRole::Admin).await;
        let alice = account(&state, "alice@example.com", AccountRole::Member).await;
        let bob = account(&state, "bob@example.com", AccountRole::Member).await;
        Self {
            dir,
            controller,
            router,
            admin,
            alice,
            bob,
        }
    }

    /// Starts another controller on the same files, as after a kill: the one before may still have
    /// tasks that hold on to its state, but its lock is gone as it is with a process.
    pub(crate) async fn restart(&mut self) {
        self.state().lock.release().unwrap();
        self.controller = Controller::bind(config(&self.dir)).await.unwrap();
        self.router = self.controller.router().fallback(crate::not_found);
    }

    pub(crate) fn state(&self) -> &AppState {
        self.controller.state()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Reply {
            status: parts.status,
            headers: parts.headers,
            text,
        }
    }

    /// A call with a bearer token (none if it is empty) and a JSON body (none if it is null).
    pub(crate) async fn call(&self, token: &str, method: &str, path: &str, body: Value) -> Reply {
        let body = if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        };
        let mut request = Request::builder()
            .method(Method::try_from(method).unwrap())
            .uri(path);
        if !token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> Reply {
        self.call(token, "GET", path, Value::Null).await
    }

    /// An app of Alice's.
    pub(crate) async fn app(&self, name: &str) -> Value {
        self.call(&self.alice, "POST", "/apps", json!({ "name": name }))
            .await
            .expect(201)
    }

    /// Queues a build of Alice's by builder `one`.
    pub(crate) async fn queue(&self, app: &str) -> QueuedBuild {
        let reply = self
            .call(
                BUILDER,
                "POST",
                "/internal/builds",
                self.new_build(app).await,
            )
            .await;
        serde_json::from_value(reply.expect(201)).unwrap()
    }

    pub(crate) async fn new_build(&self, app: &str) -> Value {
        let account = self.get(&self.alice, "/account").await.json();
        json!({
            "app": app,
            "user": { "id": account["id"], "email": account["email"] },
            "builder": "one",
            "commit": {
                "id": "1a2b3c4d".repeat(5), "branch": "main",
                "summary": "Say hello", "author": "Alice <alice@example.com>",
            },
        })
    }

    /// Claims a build that must be there, as a builder that still runs all that it claimed before.
    pub(crate) async fn claim(&self) -> BuildOrder {
        let mut db = self.state().store.read().await.unwrap();
        let unended = crate::store::builds::unended(&mut db).await.unwrap();
        drop(db);
        let running = unended
            .iter()
            .filter(|build| build.phase == BuildPhase::Running);
        self.claim_with(running.map(|build| build.id).collect())
            .await
    }

    /// Claims a build that must be there, as a builder that has only these in hand.
    pub(crate) async fn claim_with(&self, in_hand: Vec<BuildId>) -> BuildOrder {
        let body = json!({ "builder": "one", "in_hand": in_hand });
        let reply = self
            .call(BUILDER, "POST", "/internal/builds/claim", body)
            .await;
        serde_json::from_value(reply.expect(200)).unwrap()
    }

    pub(crate) async fn finish(&self, order: &BuildOrder, result: &BuildResult) -> Reply {
        let path = format!("/internal/builds/{}/result", order.id);
        self.call(
            BUILDER,
            "POST",
            &path,
            serde_json::to_value(result).unwrap(),
        )
        .await
    }

    /// Builds and releases an app with the process types `web` and `worker`, as a push does, and
    /// makes the release the current one, as the reconcile loop does.
    pub(crate) async fn release(&self, app: &str) -> BuildOrder {
        self.release_image(app, 0xab).await
    }

    /// The same with an image of its own: its digest is this byte again and again.
    pub(crate) async fn release_image(&self, app: &str, byte: u8) -> BuildOrder {
        self.queue(app).await;
        let order = self.claim().await;
        let mut image = built(&order);
        image.image.digest = digest(byte);
        self.finish(&order, &BuildResult::Succeeded(image))
            .await
            .expect(204);
        end_deployments(self.state(), &order).await;
        order
    }
}

/// What the reconcile loop does when the pods of a release are up.
async fn end_deployments(state: &AppState, order: &BuildOrder) {
    use crate::store::{apps, builds, deployments, formation, releases};
    use fairway_api::{
        build_orders::PushVerdict, ids::FormationId, releases::ReleaseStatus, sizes::SIZE_DEFAULT,
    };
    use fairway_scheduler::snapshot::DeploymentState;

    let mut tx = state.store.write().await.unwrap();
    let build = builds::get(&mut tx, order.id).await.unwrap();
    let release = releases::get(&mut tx, build.release.unwrap())
        .await
        .unwrap();
    for deployment in deployments::open(&mut tx).await.unwrap() {
        let ended = DeploymentState::Succeeded;
        deployments::advance(&mut tx, deployment.id, &ended, None, now())
            .await
            .unwrap();
    }
    releases::end(&mut tx, release.id, ReleaseStatus::Succeeded, None, now())
        .await
        .unwrap();
    apps::set_current_release(&mut tx, build.app, release.id, now())
        .await
        .unwrap();
    for (process_type, quantity) in [("web", 1), ("worker", 0)] {
        let row = formation::FormationRow {
            id: FormationId::generate(),
            app: build.app,
            process_type: process_type.parse().unwrap(),
            quantity,
            size: SIZE_DEFAULT.parse().unwrap(),
            created_at: now(),
            updated_at: now(),
        };
        formation::insert_missing(&mut tx, &row).await.unwrap();
    }
    let verdict = PushVerdict::Released {
        release: release.id,
        version: release.version,
    };
    builds::set_verdict(&mut tx, order.id, &verdict, now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    state.push_ended(order.id);
}

/// The digest that is this byte again and again.
pub(crate) fn digest(byte: u8) -> fairway_api::names::Digest {
    let hex = format!("{byte:02x}").repeat(32);
    format!("sha256:{hex}").parse().unwrap()
}

/// What a builder makes of an order.
pub(crate) fn built(order: &BuildOrder) -> BuiltImage {
    let process = |command: &str| BuiltProcess {
        command_line: command.into(),
        entrypoint: None,
        command: Some(vec![command.into()]),
        checks: None,
        stop: None,
    };
    let processes: BTreeMap<ProcessType, BuiltProcess> = [("web", "serve"), ("worker", "work")]
        .map(|(name, command)| (name.parse().unwrap(), process(command)))
        .into();
    BuiltImage {
        image: ImageRef {
            registry: order.registry.host.clone(),
            repository: order.repository.clone(),
            digest: digest(0xab),
        },
        size_bytes: 12_345_678,
        built_with: "Python".into(),
        buildpacks: vec![],
        processes,
        exposed_port: None,
        formation: BTreeMap::new(),
        cron: BTreeMap::new(),
        sidecars: Default::default(),
        strategy: None,
    }
}

/// Makes an account and gives a token of it.
async fn account(state: &AppState, email: &str, role: AccountRole) -> String {
    // Hashing is made to be slow; once is enough for all tests.
    static HASH: OnceLock<String> = OnceLock::new();
    let password_hash = match HASH.get() {
        Some(hash) => hash.clone(),
        None => {
            let hash = state.logins.hash(Secret::new(PASSWORD)).await.unwrap();
            HASH.get_or_init(|| hash).clone()
        }
    };
    let account = AccountRow {
        id: UserId::generate(),
        email: email.parse().unwrap(),
        password_hash,
        role,
        created_at: now(),
        updated_at: now(),
    };
    let (secret, token) = auth::new_token(account.id, None, None, now());
    let mut tx = state.store.write_relaxed().await.unwrap();
    accounts::insert(&mut tx, &account).await.unwrap();
    tokens::insert(&mut tx, &token).await.unwrap();
    tx.commit().await.unwrap();
    secret.expose().into()
}
