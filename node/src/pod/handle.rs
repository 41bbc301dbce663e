//! What a container's task is given, and the way to it.

use std::{collections::BTreeMap, sync::Arc};

use fairway_api::pods::PodSpec;
use tokio::{
    sync::{mpsc, watch},
    task::Id,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{DiskOrder, Record};
use crate::{
    board::BoardWriter,
    container::Part,
    diff::Observed,
    engine::Engine,
    logs::{LogQueue, Places},
    network::Network,
    sandbox::SharedNet,
    start::Starter,
};

/// News that wait for a pod's task; what does not fit is found again by the next look at the
/// engine.
const INBOX_MAX: usize = 16;

/// What all pod tasks of a machine use.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) engine: Arc<Engine>,
    pub(crate) starter: Starter,
    pub(crate) network: Arc<Network>,
    pub(crate) board: BoardWriter,
    pub(crate) logs: LogQueue,
    pub(crate) places: Arc<Places>,
    pub(crate) burials: TaskTracker,
    pub(crate) shutdown: CancellationToken,
}

/// How a pod begins.
#[derive(Debug)]
pub(crate) enum Begin {
    Wanted,
    Adopt(Observed),
}

/// What the engine has to tell a pod.
#[derive(Debug, Clone)]
pub(crate) enum News {
    Died { container: String, code: i64 },
    OutOfMemory { container: String },
    SandboxDied { sandbox: String },
    EngineBack,
    Disk(DiskOrder),
}

/// The way to a pod's task.
#[derive(Debug)]
pub(crate) struct Handle {
    line: Line,
    task: Id,
}

/// What reaches a task that is yet to be begun.
#[derive(Debug)]
pub(super) struct Line {
    inbox: mpsc::Sender<News>,
    unwanted: CancellationToken,
}

impl Handle {
    /// Which task it is, among those of whoever began it.
    pub(crate) fn task(&self) -> Id {
        self.task
    }

    /// Passes news on, unless the task is too busy: then it will be told again.
    pub(crate) fn tell(&self, news: News) {
        drop(self.line.inbox.try_send(news));
    }

    pub(crate) fn retire(&self) {
        self.line.unwanted.cancel();
    }

    pub(crate) fn is_retiring(&self) -> bool {
        self.line.unwanted.is_cancelled()
    }
}

/// What a task runs and who hears of it.
pub(crate) struct Place {
    pub(crate) part: Part,
    /// That of its pod, for one of several containers.
    pub(crate) net: Option<Arc<SharedNet>>,
    pub(crate) hears: Hears,
}

/// Who hears how a container stands.
pub(crate) enum Hears {
    /// All who look at the board: it is the whole pod.
    Board,
    /// The group of containers that it is one of, under this number.
    Group {
        seat: usize,
        records: watch::Sender<Records>,
    },
}

/// The containers of a group by their number, as last heard.
pub(crate) type Records = BTreeMap<usize, Record>;

impl Place {
    /// That of a pod with one container.
    pub(crate) fn alone(spec: Arc<PodSpec>) -> Self {
        Self {
            part: Part::main(spec),
            net: None,
            hears: Hears::Board,
        }
    }
}

impl Line {
    /// The way to something that hears `news` and ends with `unwanted`.
    pub(super) fn open() -> (Self, mpsc::Receiver<News>, CancellationToken) {
        let (inbox, news) = mpsc::channel(INBOX_MAX);
        let unwanted = CancellationToken::new();
        let line = Self {
            inbox,
            unwanted: unwanted.clone(),
        };
        (line, news, unwanted)
    }

    /// The way to the task that has begun.
    pub(super) fn to(self, task: Id) -> Handle {
        Handle { line: self, task }
    }
}
