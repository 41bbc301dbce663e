//! A pod with several containers: each has a task of its own, and this one says when each begins
//! and ends, and what they come to together.
//!
//! ```text
//! engine's news --> group --> tasks of the containers --> engine
//!                     ^ records  |
//!                     +----------+      sum of the records --> board
//! ```

mod order;
mod sum;

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use fairway_api::{ids::PodId, names::ContainerName, pods::PodSpec};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use self::order::{Group, MAIN_SEAT, Order};
use super::{
    DiskOrder, Record,
    handle::{Begin, Handle, Hears, Host, Line, News, Place, Records},
    task,
};
use crate::{container::Part, diff::Observed, folders, logs::Writer, sandbox::SharedNet};

/// Begins the task of a pod with several containers; it ends with the pod or with the agent.
/// `found` are containers of it that are there already.
pub(crate) fn spawn(
    tasks: &mut JoinSet<PodId>,
    host: Arc<Host>,
    spec: Arc<PodSpec>,
    record: Record,
    found: Vec<Observed>,
) -> Handle {
    let (line, news, unwanted) = Line::open();
    let (id, shutdown) = (spec.id, host.shutdown.clone());
    let found: BTreeMap<ContainerName, Observed> = found
        .into_iter()
        .map(|it| (it.stamp.container.clone(), it))
        .collect();
    let kept = record.sandbox.clone();
    let kept = kept.or_else(|| found.values().find_map(|it| it.sandbox.clone()));
    let sandboxes = host.starter.sandboxes.clone();
    let company = Company {
        writer: Writer::of(&spec),
        group: Group::new(&spec, &record, &found.keys().cloned().collect()),
        parts: Part::all(&spec),
        net: Arc::new(SharedNet::new(sandboxes, spec.clone(), kept)),
        host,
        spec,
        found,
        news,
        unwanted,
        told_unwanted: false,
        handles: BTreeMap::new(),
        tasks: JoinSet::new(),
        records: watch::Sender::default(),
        wake: None,
    };
    let running = tasks.spawn(async move {
        shutdown.run_until_cancelled(company.run()).await;
        id
    });
    line.to(running.id())
}

struct Company {
    host: Arc<Host>,
    spec: Arc<PodSpec>,
    writer: Writer,
    group: Group,
    /// In the group's order: the main one first.
    parts: Vec<Part>,
    net: Arc<SharedNet>,
    /// What was there at the start, until its task takes it up.
    found: BTreeMap<ContainerName, Observed>,
    news: mpsc::Receiver<News>,
    unwanted: CancellationToken,
    told_unwanted: bool,
    /// Of the containers that have a task.
    handles: BTreeMap<usize, Handle>,
    tasks: JoinSet<usize>,
    records: watch::Sender<Records>,
    wake: Option<DateTime<Utc>>,
}

impl Company {
    async fn run(mut self) {
        let mut heard = self.records.subscribe();
        for seat in self.group.there() {
            self.begin(seat);
        }
        loop {
            self.wake = None;
            for order in self.group.next(Utc::now()) {
                match order {
                    Order::Begin(seat) => self.begin(seat),
                    Order::Retire(seat) => {
                        if let Some(handle) = self.handles.get(&seat) {
                            handle.retire();
                        }
                    }
                    Order::Say(text) => self.host.logs.say(&self.writer, text),
                    Order::WakeAt(at) => self.wake = Some(at),
                    Order::Left => return self.leave().await,
                }
            }
            self.host.board.put(&self.group.record());
            self.wait(&mut heard).await;
        }
    }

    fn begin(&mut self, seat: usize) {
        let Some(part) = self.parts.get(seat).cloned() else {
            return;
        };
        let found = self.found.remove(&part.name);
        let place = Place {
            part,
            net: Some(self.net.clone()),
            hears: Hears::Group {
                seat,
                records: self.records.clone(),
            },
        };
        let record = self.group.record_of(seat);
        let begin = found.map_or(Begin::Wanted, Begin::Adopt);
        let (tasks, host) = (&mut self.tasks, self.host.clone());
        let handle = task::spawn(tasks, seat, host, place, record, begin);
        self.handles.insert(seat, handle);
    }

    /// Waits until there is something to decide on.
    async fn wait(&mut self, heard: &mut watch::Receiver<Records>) {
        let pause = self
            .wake
            .map(|at| (at - Utc::now()).to_std().unwrap_or_default());
        tokio::select! {
            () = self.unwanted.cancelled(), if !self.told_unwanted => {
                self.told_unwanted = true;
                self.group.leave();
            }
            Some(news) = self.news.recv() => self.pass_on(&news),
            Ok(()) = heard.changed() => self.hear(heard),
            Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                // What it said last may have come at the same time.
                self.hear(heard);
                match ended {
                    Ok(seat) => self.ended(seat),
                    Err(error) => self.failed(&error),
                }
            }
            () = async { sleep(pause.unwrap_or_default()).await }, if pause.is_some() => {}
        }
    }

    fn hear(&mut self, heard: &mut watch::Receiver<Records>) {
        for (seat, record) in heard.borrow_and_update().iter() {
            self.group.note(*seat, record.clone());
        }
    }

    fn ended(&mut self, seat: usize) {
        self.handles.remove(&seat);
        // A later task of the same container must not be taken for this one.
        self.records.send_modify(|all| drop(all.remove(&seat)));
        self.group.gone(seat);
    }

    /// Its container is begun anew, or the pod would wait for it for ever.
    fn failed(&mut self, error: &JoinError) {
        tracing::error!("the task of a container failed, please report this: {error}");
        let failed = self
            .handles
            .iter()
            .find_map(|(seat, handle)| (handle.task() == error.id()).then_some(*seat));
        if let Some(seat) = failed {
            self.ended(seat);
        }
    }

    /// To the container that it is about; if none says that it is, to all, since one may be
    /// starting.
    fn pass_on(&self, news: &News) {
        let about = match news {
            News::Died { container, .. } | News::OutOfMemory { container } => {
                self.group.seat_of(container)
            }
            // The pod ends with its main container.
            News::Disk(DiskOrder::OverBudget { .. } | DiskOrder::Evict { .. }) => Some(MAIN_SEAT),
            News::SandboxDied { .. } | News::EngineBack | News::Disk(DiskOrder::Tidy) => None,
        };
        let told = self
            .handles
            .iter()
            .filter(|(seat, _)| about.is_none_or(|about| about == **seat));
        for (_, handle) in told {
            handle.tell(news.clone());
        }
    }

    /// Nothing of the containers is left: what they shared goes.
    async fn leave(self) {
        self.net.release().await;
        folders::remove(&self.host.engine, &self.spec).await;
        self.host.board.remove(self.spec.id);
    }
}
