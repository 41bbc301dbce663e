//! The pushes under way: which hook belongs to which push, and which pushes of an app come before
//! which. A leaf cache; its lock is held for moments only.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use fairway_api::{
    build_orders::GitGrant,
    ids::{AppId, BuildId},
    names::BranchName,
    phases::Phase,
};
use tokio::{sync::watch, time::Instant};

/// How many freshly created apps are remembered for their first push.
const CREATED_MAX: usize = 1_000;

/// All pushes that have a git process.
#[derive(Clone)]
pub(crate) struct Pushes {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Told whenever a push ends.
    ended: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// By token.
    under_way: HashMap<String, Arc<Entry>>,
    /// Apps made by a request whose push is a later one: over HTTP the list of refs comes first.
    created: HashSet<AppId>,
}

struct Entry {
    token: String,
    grant: GitGrant,
    repository: PathBuf,
    /// When its request came in.
    since: Instant,
    in_hook: Arc<AtomicBool>,
    /// The app was made for it.
    created: bool,
    /// Once its build is queued.
    build: OnceLock<BuildId>,
    /// When its hook was answered.
    judged: OnceLock<Instant>,
}

/// A push under way. It ends with its drop.
pub(crate) struct Push {
    entry: Arc<Entry>,
    pushes: Pushes,
}

/// What a hook may know of the push it belongs to.
#[derive(Clone)]
pub(crate) struct PushFacts {
    pub(crate) grant: GitGrant,
    pub(crate) repository: PathBuf,
    pub(crate) token: String,
    /// The push made the app.
    pub(crate) created: bool,
}

impl Default for Pushes {
    fn default() -> Self {
        let shared = Shared {
            state: Mutex::default(),
            ended: watch::Sender::new(()),
        };
        Self {
            shared: Arc::new(shared),
        }
    }
}

impl Pushes {
    /// A new push, asked for at `since`. Its token is a secret that only its hook gets to know.
    pub(crate) fn begin(&self, grant: GitGrant, repository: PathBuf, since: Instant) -> Push {
        let token = format!("{:032x}", rand::random::<u128>());
        let in_hook = Arc::new(AtomicBool::new(false));
        let mut state = self.state();
        let created = state.created.remove(&grant.app.id);
        let entry = Arc::new(Entry {
            created,
            token,
            grant,
            repository,
            since,
            in_hook,
            build: OnceLock::new(),
            judged: OnceLock::new(),
        });
        state
            .under_way
            .insert(entry.token.clone(), Arc::clone(&entry));
        drop(state);
        Push {
            entry,
            pushes: self.clone(),
        }
    }

    /// The push whose hook has come in, once.
    pub(crate) fn enter_hook(&self, token: &str) -> Option<PushFacts> {
        let entry = Arc::clone(self.state().under_way.get(token)?);
        if entry.in_hook.swap(true, Ordering::Relaxed) {
            return None;
        }
        Phase::Receive.log(entry.grant.app.id, entry.since.elapsed());
        Some(PushFacts {
            grant: entry.grant.clone(),
            repository: entry.repository.clone(),
            token: entry.token.clone(),
            created: entry.created,
        })
    }

    /// True while somebody pushes to the app.
    pub(crate) fn has(&self, app: AppId) -> bool {
        let state = self.state();
        state
            .under_way
            .values()
            .any(|entry| entry.grant.app.id == app)
    }

    /// Remembers that an app was made for a push.
    pub(crate) fn announce_created(&self, app: AppId) {
        let mut state = self.state();
        if state.created.len() < CREATED_MAX {
            state.created.insert(app);
        }
    }

    /// True, once, for an app that was made for a push that has not come.
    pub(crate) fn take_created(&self, app: AppId) -> bool {
        self.state().created.remove(&app)
    }

    /// Remembers which build a push waits for.
    pub(crate) fn queued(&self, token: &str, build: BuildId) {
        if let Some(entry) = self.state().under_way.get(token) {
            entry.build.get_or_init(|| build);
        }
    }

    /// Notes that a push's hook has its answer, and the rest is git's.
    pub(crate) fn judged(&self, token: &str) {
        if let Some(entry) = self.state().under_way.get(token) {
            entry.judged.get_or_init(Instant::now);
        }
    }

    /// Waits until git has ended for every push of the app whose build came before `build`: only
    /// then do the refs show what became of it. Ids of builds sort by age.
    pub(crate) async fn settled_before(&self, app: AppId, build: BuildId) {
        let mut ended = self.shared.ended.subscribe();
        loop {
            ended.mark_unchanged();
            let settled = !self.state().under_way.values().any(|entry| {
                entry.grant.app.id == app && entry.build.get().is_some_and(|id| *id < build)
            });
            // The sender lives as long as we do.
            if settled || ended.changed().await.is_err() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Push {
    pub(crate) fn token(&self) -> &str {
        &self.entry.token
    }

    pub(crate) fn app(&self) -> AppId {
        self.entry.grant.app.id
    }

    pub(crate) fn repository(&self) -> &Path {
        &self.entry.repository
    }

    /// The app was made for it.
    pub(crate) fn created(&self) -> bool {
        self.entry.created
    }

    /// Once it is queued.
    pub(crate) fn build(&self) -> Option<BuildId> {
        self.entry.build.get().copied()
    }

    pub(crate) fn deploy_branch(&self) -> Option<&BranchName> {
        self.entry.grant.deploy_branch.as_ref()
    }

    /// Logs how long git took for its last steps, and all of the push.
    pub(crate) fn log_end(&self) {
        let app = self.entry.grant.app.id;
        if let Some(judged) = self.entry.judged.get() {
            Phase::End.log(app, judged.elapsed());
            Phase::Push.log(app, self.entry.since.elapsed());
        }
    }

    /// True from when its hook came in.
    pub(crate) fn in_hook(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.entry.in_hook)
    }

    pub(crate) fn reached_hook(&self) -> bool {
        self.entry.in_hook.load(Ordering::Relaxed)
    }
}

impl Drop for Push {
    fn drop(&mut self) {
        self.pushes.state().under_way.remove(&self.entry.token);
        self.pushes.shared.ended.send_replace(());
    }
}
