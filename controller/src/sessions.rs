//! Sessions with pods that run: who may open one, which wait for an agent, how many there are.
//!
//! All of it is in memory: a session is two sockets of this process and ends with it. A grant is
//! what a request leaves behind; a stream is one WebSocket of its person, for which an agent is
//! asked to dial back. The agents' long polls wait here, so no interval stands between.

mod commands;
mod grants;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fairway_api::{
    ids::{AppId, AttachId, PodId, UserId},
    names::{ContainerName, NodeName},
    pods::PodPhase,
    sessions::{NewSession, SESSION_IDLE_SECS_MAX, SessionOrder, SessionPurpose},
};
use fairway_scheduler::snapshot::PodIntent;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::{
    attach::Terms,
    auth::Caller,
    deploy::spec::company,
    problem::{Answer, Problem},
    store::{
        Db,
        apps::AppRow,
        events,
        pods::{self, PodRow},
        releases,
    },
};
use grants::Grants;
pub use grants::Stream;

/// How long an agent may take to dial back: it hears of a session within a round trip.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// When an agent that was told of a session and did not dial is told again: its answer may have
/// been lost with its connection.
const TELL_AGAIN: Duration = Duration::from_secs(2);

/// A session that may be opened.
#[derive(Debug, Clone)]
pub struct Grant {
    pub id: AttachId,
    pub app: AppId,
    pub account: UserId,
    pub pod: PodId,
    pub pod_name: String,
    pub node: NodeName,
    pub purpose: Purpose,
}

/// What its streams may do.
#[derive(Debug, Clone)]
pub enum Purpose {
    /// One stream: a command, which a copy is as well.
    Command(SessionOrder),
    /// Connections to these ports, and one stream that watches.
    Forward {
        ports: Vec<u16>,
        container: Option<String>,
    },
}

/// All sessions of this controller.
#[derive(Debug, Default)]
pub struct Sessions {
    grants: Mutex<Grants>,
    desks: Mutex<HashMap<NodeName, Arc<Desk>>>,
}

/// Where one agent's orders wait.
#[derive(Debug, Default)]
struct Desk {
    waiting: Mutex<Vec<Waiting>>,
    news: Notify,
}

#[derive(Debug)]
struct Waiting {
    order: SessionOrder,
    told: Option<Instant>,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that are to be told now, else when to look again.
    fn due(&self, now: Instant) -> Result<Vec<SessionOrder>, Option<Instant>> {
        let mut waiting = self.lock();
        let is_due = |it: &Waiting| it.told.is_none_or(|told| told + TELL_AGAIN <= now);
        if !waiting.iter().any(is_due) {
            return Err(waiting
                .iter()
                .filter_map(|it| it.told)
                .min()
                .map(|at| at + TELL_AGAIN));
        }
        let due = waiting.iter_mut().filter(|it| is_due(it));
        Ok(due
            .map(|it| {
                it.told = Some(now);
                it.order.clone()
            })
            .collect())
    }
}

/// Who may bring the pod's end of a rendezvous.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is of a session of this node's.
    Session,
    /// It is of another node's.
    NotYours,
    /// It is no session: a one-off pod's terminal, or nothing.
    Unknown,
}

impl Sessions {
    /// Waits for orders of a node, for ever.
    pub async fn orders(&self, node: &NodeName) -> Vec<SessionOrder> {
        let desk = self.desk(node);
        loop {
            let news = desk.news.notified();
            let again = match desk.due(Instant::now()) {
                Ok(orders) => return orders,
                Err(again) => again,
            };
            let again = async {
                match again {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = news => {}
                () = again => {}
            }
        }
    }

    /// Lets an agent answer one of its own sessions, once.
    pub fn claim(&self, id: AttachId, node: &NodeName) -> Claim {
        match self.grants().stream_of(id) {
            None => return Claim::Unknown,
            Some(owner) if owner != *node => return Claim::NotYours,
            Some(_) => {}
        }
        self.desk(node).lock().retain(|it| it.order.id != id);
        Claim::Session
    }

    /// Keeps a grant until it is used.
    pub fn grant(&self, grant: Grant) -> Answer<Duration> {
        self.grants().add(grant, Instant::now())
    }

    /// Opens one stream of a grant and asks the agent for its end. It counts until dropped.
    pub fn open(self: &Arc<Self>, id: AttachId, port: Option<u16>) -> Answer<Stream> {
        let (stream, order, node) = self.grants().open(id, port, Instant::now())?;
        let desk = self.desk(&node);
        desk.lock().push(Waiting { order, told: None });
        desk.news.notify_one();
        Ok(Stream::new(Arc::clone(self), id, stream, node))
    }

    /// The grant behind a URL, if it still counts.
    pub fn granted(&self, id: AttachId) -> Option<Grant> {
        self.grants().find(id, Instant::now())
    }

    fn close(&self, grant: AttachId, stream: AttachId, node: &NodeName) {
        self.desk(node).lock().retain(|it| it.order.id != stream);
        self.grants().close(grant, stream, Instant::now());
    }

    fn desk(&self, node: &NodeName) -> Arc<Desk> {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(desks.entry(node.clone()).or_default())
    }

    fn grants(&self) -> MutexGuard<'_, Grants> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What holds for both ends of a session on this node.
pub fn terms(node: &NodeName) -> Terms {
    Terms {
        wait: ANSWER_MAX,
        idle: Some(Duration::from_secs(SESSION_IDLE_SECS_MAX)),
        absent: format!(
            "{node}, where the pod runs, did not answer within {} seconds; it may be cut off, or \
             its agent may be older than this controller",
            ANSWER_MAX.as_secs()
        ),
    }
}

/// Decides about a session that somebody asks for and puts it on the record. The caller commits
/// and keeps the grant.
pub async fn create(
    db: &mut Db,
    app: &AppRow,
    which: &str,
    new: NewSession,
    caller: &Caller,
) -> Answer<Grant> {
    commands::check(&new)?;
    let pod = running(db, app, which).await?;
    let node = pod.node.clone().ok_or_else(|| not_running(&pod))?;
    let release = releases::get(db, pod.release).await?;
    let company = company(pod.kind, &pod.process_type);
    let image = commands::image_of(&new, &pod.name, release.image.as_ref(), company)?;
    let whose = match new.container.as_deref() {
        Some(container) if !ContainerName::main().as_str().eq(container) => {
            format!("{}/{container}", pod.name)
        }
        _ => pod.name.clone(),
    };
    let (kind, message) = commands::told(&new.purpose, &whose);
    let id = AttachId::generate();
    let purpose = match new.purpose {
        SessionPurpose::Forward { ports } => Purpose::Forward {
            ports,
            container: new.container,
        },
        other => Purpose::Command(SessionOrder {
            id,
            pod: pod.id,
            pod_name: pod.name.clone(),
            container: new.container,
            work: commands::work(other, id, image),
        }),
    };
    let who = caller.account.email.as_str();
    events::record(db, Some(&app.app()), who, kind, &message).await?;
    Ok(Grant {
        id,
        app: app.id,
        account: caller.id(),
        pod: pod.id,
        pod_name: pod.name,
        node,
        purpose,
    })
}

/// Looks again right before a stream is opened: the pod may be gone, or its app another's.
pub async fn still_allowed(db: &mut Db, grant: &Grant) -> Answer<()> {
    let pods = pods::of_app(db, grant.app).await?;
    let pod = pods.into_iter().find(|pod| pod.id == grant.pod);
    let pod = pod.ok_or_else(|| {
        Problem::conflict(format!("{} has ended.", grant.pod_name))
            .hint("The processes there are: app ps")
    })?;
    if runs(&pod) {
        Ok(())
    } else {
        Err(not_running(&pod))
    }
}

/// The pod by id or name; of several with one name, one that runs and is wanted.
async fn running(db: &mut Db, app: &AppRow, which: &str) -> Answer<PodRow> {
    let mut named: Vec<PodRow> = pods::of_app(db, app.id)
        .await?
        .into_iter()
        .filter(|pod| pod.name == which || pod.id.to_string() == which)
        .collect();
    named.sort_by_key(|pod| {
        (
            !runs(pod),
            pod.intent != PodIntent::Wanted,
            std::cmp::Reverse(pod.id),
        )
    });
    let pod = named
        .into_iter()
        .next()
        .ok_or_else(|| Problem::not_found("pod").hint("The processes there are: app ps"))?;
    if runs(&pod) {
        Ok(pod)
    } else {
        Err(not_running(&pod))
    }
}

fn runs(pod: &PodRow) -> bool {
    let phase = pod.status.as_ref().map(|status| &status.phase);
    matches!(
        phase,
        Some(PodPhase::Starting | PodPhase::Running { .. } | PodPhase::Stopping)
    )
}

fn not_running(pod: &PodRow) -> Problem {
    Problem::conflict(format!("{} does not run now.", pod.name))
        .hint("How it is: app ps. For a fresh process: app run bash")
}
