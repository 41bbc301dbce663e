//! Owns the pods' tasks: compares plan and engine, does the steps, passes the engine's events on.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use chrono::{TimeDelta, Utc};
use fairway_api::{ids::PodId, pods::PodPhase};
use futures_util::StreamExt as _;
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    container::Stamp,
    diff::{Known, Observed, State, Step, diff},
    disk::ForPods,
    engine::{AGAIN_MILLIS, Engine, EngineError, Event, EventKind},
    folders,
    logs::{self, Writer},
    plans::Orders,
    pod::{
        Record, SIGKILL_CODE, bury, group,
        handle::{Begin, Handle, Host, News, Place},
        task,
    },
    sandbox,
};

/// How often the engine is compared with what the tasks believe, in seconds: a second net below
/// its events.
const RESYNC_SECS: u64 = 60;
/// Events that wait to be passed on.
const EVENTS_MAX: usize = 256;
/// How far back events are asked for, in seconds: what happened while the stream was being set up
/// or was broken.
const EVENTS_BACK_SECS: i64 = 10;

/// What the engine tells.
enum Told {
    /// It answers (again): anything may have happened before.
    Connected,
    Event(Event),
}

/// Runs pods until `host.shutdown`, and keeps networks ready for the next ones unless the machine
/// was `removed` from the cluster.
pub(crate) async fn supervise(
    host: Arc<Host>,
    mut orders: watch::Receiver<Option<Arc<Orders>>>,
    mut for_disk: mpsc::Receiver<ForPods>,
    removed: CancellationToken,
) {
    let (tell, mut told) = mpsc::channel(EVENTS_MAX);
    let listening = listen(host.clone(), tell);
    let mut supervisor = Supervisor {
        host: host.clone(),
        pods: HashMap::new(),
        tasks: JoinSet::new(),
        looked: false,
    };
    let supervising = async {
        let mut resync = interval(Duration::from_secs(RESYNC_SECS));
        resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = orders.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                Some(told) = told.recv() => match told {
                    Told::Connected => supervisor.engine_back(),
                    Told::Event(event) => {
                        supervisor.pass_on(event);
                        continue;
                    }
                },
                Some(order) = for_disk.recv() => {
                    supervisor.for_disk(order);
                    continue;
                }
                _ = resync.tick() => supervisor.looked = false,
                Some(ended) = supervisor.tasks.join_next() => supervisor.forget(ended),
            }
            let now = orders.borrow_and_update().clone();
            match now {
                Some(orders) => supervisor.pass(&orders).await,
                // A machine that never had orders has nothing to compare. It reports all the
                // same: that is how the controller learns of it, and only then are there orders.
                None => host.board.update(|board| board.looked = true),
            }
        }
    };
    tokio::select! {
        () = host.shutdown.cancelled() => {}
        () = sandbox::keep(&host.starter.sandboxes, host.board.subscribe(), removed) => {}
        () = listening => {}
        () = supervising => {}
    }
}

/// Passes the engine's events on, connecting again for ever.
async fn listen(host: Arc<Host>, tell: mpsc::Sender<Told>) {
    let mut quiet = false;
    loop {
        let since = Utc::now() - TimeDelta::seconds(EVENTS_BACK_SECS);
        if let Err(error) = host.engine.ping().await {
            if !quiet {
                tracing::error!("{:#}", anyhow::Error::from(error));
            }
            quiet = true;
        } else {
            quiet = false;
            host.network.look();
            host.starter.sandboxes.look();
            // The events are asked for from before this moment on, so none falls between.
            if tell.send(Told::Connected).await.is_err() {
                return;
            }
            match pass_events(&host.engine, since, &tell).await {
                Ok(()) => tracing::warn!("the container engine ended its events"),
                Err(error) => {
                    tracing::warn!("lost the engine's events: {:#}", anyhow::Error::from(error))
                }
            }
        }
        sleep(Duration::from_millis(AGAIN_MILLIS)).await;
    }
}

async fn pass_events(
    engine: &Engine,
    since: chrono::DateTime<Utc>,
    tell: &mpsc::Sender<Told>,
) -> Result<(), EngineError> {
    let events = engine.events(since).await?;
    tokio::pin!(events);
    while let Some(event) = events.next().await {
        if tell.send(Told::Event(event?)).await.is_err() {
            break;
        }
    }
    Ok(())
}

struct Supervisor {
    host: Arc<Host>,
    pods: HashMap<PodId, Handle>,
    tasks: JoinSet<PodId>,
    /// The engine was compared since it was last connected.
    looked: bool,
}

impl Supervisor {
    fn engine_back(&mut self) {
        self.looked = false;
        for pod in self.pods.values() {
            pod.tell(News::EngineBack);
        }
    }

    fn pass_on(&self, event: Event) {
        let container = event.container;
        let Some(pod) = event.pod else {
            return self.sandbox_died(&container);
        };
        let Some(pod) = self.pods.get(&pod) else {
            return;
        };
        pod.tell(match event.kind {
            EventKind::Died { code } => News::Died { container, code },
            EventKind::OutOfMemory => News::OutOfMemory { container },
        });
    }

    /// What does not reach a pod now is said again.
    fn for_disk(&self, (pod, order): ForPods) {
        match pod {
            Some(pod) => {
                if let Some(pod) = self.pods.get(&pod) {
                    pod.tell(News::Disk(order));
                }
            }
            None => self
                .pods
                .values()
                .for_each(|pod| pod.tell(News::Disk(order))),
        }
    }

    /// Only the pod whose it was knows that.
    fn sandbox_died(&self, sandbox: &str) {
        self.host.starter.sandboxes.look();
        for pod in self.pods.values() {
            let sandbox = sandbox.to_owned();
            pod.tell(News::SandboxDied { sandbox });
        }
    }

    fn forget(&mut self, ended: Result<PodId, JoinError>) {
        match ended {
            Ok(pod) => drop(self.pods.remove(&pod)),
            // Its container is taken up anew, or it would stay whatever the orders say.
            Err(error) => {
                tracing::error!("a pod's task failed; please report this: {error}");
                self.pods.retain(|_, pod| pod.task() != error.id());
                self.looked = false;
            }
        }
    }

    /// One pass: read everything, decide, act.
    async fn pass(&mut self, orders: &Orders) {
        let seen = if self.looked {
            None
        } else {
            match self.host.engine.list().await {
                Ok(seen) => {
                    let pods = orders.pods.iter().map(|spec| spec.id);
                    let pods = pods.chain(self.pods.keys().copied()).collect();
                    let sweep = folders::sweep(self.host.engine.clone(), pods);
                    self.host.burials.spawn(sweep);
                    Some(seen.containers)
                }
                Err(error) => return self.without_engine(orders, &error),
            }
        };
        let known = self.known();
        let steps = diff(Some(&orders.pods), &known, seen.as_deref());
        self.announce(orders, &steps);
        for step in steps {
            self.act(step);
        }
        self.looked = true;
    }

    fn known(&self) -> BTreeMap<PodId, Known> {
        let board = self.host.board.read();
        let known = |(&id, handle): (&PodId, &Handle)| {
            let containers = board.pods.get(&id).map(Record::containers);
            let containers = containers.unwrap_or_default().into_iter();
            let known = Known {
                running: containers
                    .filter_map(|(_, record)| record.running().cloned())
                    .collect(),
                retiring: handle.is_retiring(),
            };
            (id, known)
        };
        self.pods.iter().map(known).collect()
    }

    /// Puts new pods and the generation on the board as one change, and takes off what is left of
    /// pods that no longer exist.
    fn announce(&self, orders: &Orders, steps: &[Step]) {
        let coming: Vec<PodId> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Run(spec) | Step::Adopt(spec, _) => Some(spec.id),
                Step::Retire(_) | Step::Look(..) | Step::Bury(_) => None,
            })
            .collect();
        self.host.board.update(|board| {
            board.generation = orders.generation;
            board.looked = true;
            board
                .pods
                .retain(|id, _| self.pods.contains_key(id) || coming.contains(id));
            for id in coming {
                board.pods.entry(id).or_insert_with(|| Record::new(id));
            }
        });
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Run(spec) => self.begin(spec, vec![]),
            Step::Adopt(spec, found) => self.begin(spec, found),
            Step::Retire(pod) => {
                if let Some(pod) = self.pods.get(&pod) {
                    pod.retire();
                }
            }
            Step::Look(pod, container) => {
                if let Some(pod) = self.pods.get(&pod) {
                    pod.tell(News::Died {
                        container,
                        code: SIGKILL_CODE,
                    });
                }
            }
            Step::Bury(observed) => self.bury(observed),
        }
    }

    /// Begins a pod, of which these containers are there.
    fn begin(&mut self, spec: Arc<fairway_api::pods::PodSpec>, found: Vec<Observed>) {
        let id = spec.id;
        let record = self
            .host
            .board
            .read()
            .pods
            .remove(&id)
            .unwrap_or_else(|| Record::new(id));
        let (tasks, host) = (&mut self.tasks, self.host.clone());
        let handle = if spec.sidecars.is_empty() {
            let begin = found.into_iter().next().map_or(Begin::Wanted, Begin::Adopt);
            task::spawn(tasks, id, host, Place::alone(spec), record, begin)
        } else {
            group::spawn(tasks, host, spec, record, found)
        };
        self.pods.insert(id, handle);
    }

    fn bury(&self, observed: Observed) {
        let Observed {
            id,
            stamp: Stamp {
                spec, container, ..
            },
            state,
            ..
        } = observed;
        let follower = spec
            .filter(|spec| {
                let logs = spec.attach.is_none() || !container.is_main();
                state == State::Dead && logs
            })
            .map(|spec| {
                logs::follow(
                    self.host.engine.clone(),
                    &id,
                    Writer::of_container(&spec, &container),
                    self.host.logs.clone(),
                    &self.host.places,
                    self.host.shutdown.clone(),
                )
            });
        self.host
            .burials
            .spawn(bury(self.host.clone(), id, follower));
    }

    /// The engine is away: what is known stays as it is, what is new is refused for now.
    fn without_engine(&self, orders: &Orders, error: &EngineError) {
        self.host.board.update(|board| {
            board.generation = orders.generation;
            board.looked = true;
            for spec in &orders.pods {
                board.pods.entry(spec.id).or_insert_with(|| {
                    let mut record = Record::new(spec.id);
                    record.status.phase = PodPhase::Refused {
                        reason: error.to_string(),
                    };
                    record
                });
            }
        });
    }
}
