//! The task of one container, which most often is the whole pod: tells the state machine what
//! happened and does what it says.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::Utc;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    Do, Pod, Record, Running, SIGKILL_CODE, Seen, Timer,
    end::{Looked, bury, look},
    handle::{Begin, Handle, Hears, Host, Line, News, Place},
};
use crate::{
    attach::Session,
    checks::{self, Inside, Repeating, Target},
    diff::State,
    engine::Inspected,
    logs::{self, Follower, Writer},
    start::{NetWish, NotStarted, Started},
};

/// How long a signal may take to be sent, in seconds; the next timer sends one again.
const SIGNAL_SECS: u64 = 10;

/// Begins a container's task, which ends with the container or with the agent and then gives `tag`.
pub(crate) fn spawn<T: Send + 'static>(
    tasks: &mut JoinSet<T>,
    tag: T,
    host: Arc<Host>,
    place: Place,
    record: Record,
    begin: Begin,
) -> Handle {
    let (line, news, unwanted) = Line::open();
    let shutdown = host.shutdown.clone();
    let task = Task {
        host,
        writer: Writer::of(&place.part.spec),
        pod: Pod::new(place.part.spec.clone(), record),
        place,
        news,
        unwanted,
        told_unwanted: false,
        cancel_start: CancellationToken::new(),
        starting: None,
        missed_death: None,
        looking: None,
        target: None,
        checking: None,
        timers: BTreeMap::new(),
        follower: None,
        session: None,
        terminal_gone: None,
        burying: Vec::new(),
    };
    let running = tasks.spawn(async move {
        shutdown.run_until_cancelled(task.run(begin)).await;
        tag
    });
    line.to(running.id())
}

type Background<T> = AbortOnDropHandle<T>;

struct Task {
    host: Arc<Host>,
    writer: Writer,
    place: Place,
    pod: Pod,
    news: mpsc::Receiver<News>,
    unwanted: CancellationToken,
    told_unwanted: bool,
    cancel_start: CancellationToken,
    starting: Option<Background<Result<Started, NotStarted>>>,
    /// A death that was told while a start was under way: perhaps that of the container that is
    /// being started.
    missed_death: Option<(String, i64)>,
    looking: Option<Background<Looked>>,
    target: Option<Target>,
    checking: Option<(mpsc::Receiver<Seen>, JoinSet<()>)>,
    timers: BTreeMap<Timer, Instant>,
    follower: Option<Follower>,
    session: Option<oneshot::Sender<i64>>,
    terminal_gone: Option<oneshot::Receiver<()>>,
    burying: Vec<tokio::task::JoinHandle<()>>,
}

impl Task {
    async fn run(mut self, begin: Begin) {
        let mut next = self.begin(begin).await;
        loop {
            if let Some(seen) = next.take() {
                let todo = self.pod.on(seen, Utc::now());
                let mut gone = false;
                for thing in todo {
                    gone |= thing == Do::Gone;
                    self.act(thing).await;
                }
                if gone {
                    return self.leave().await;
                }
                self.tell();
            }
            next = self.wait().await;
        }
    }

    async fn begin(&mut self, begin: Begin) -> Option<Seen> {
        let observed = match begin {
            Begin::Wanted => return Some(Seen::Wanted),
            Begin::Adopt(observed) => observed,
        };
        self.pod.found(observed.stamp.run);
        let container = observed.id;
        // A dead container that is known has told its end already.
        let told = observed.state == State::Dead
            && self.pod.record().container.as_ref() == Some(&container)
            && self.pod.record().status.started_at.is_none();
        if told {
            return Some(Seen::AdoptedDead {
                container,
                exit: None,
            });
        }
        Some(
            match look(self.host.engine.clone(), container.clone(), SIGKILL_CODE).await {
                Looked::Running {
                    running,
                    pid,
                    cut_off,
                } => {
                    self.aim(&running, pid);
                    self.note_start();
                    if cut_off {
                        self.look(container, SIGKILL_CODE);
                    }
                    Seen::Adopted(running)
                }
                Looked::Ended(exit) => Seen::AdoptedDead {
                    container,
                    exit: Some(exit),
                },
            },
        )
    }

    /// Waits for the next thing that happens; `None` for what needs no step of the machine.
    async fn wait(&mut self) -> Option<Seen> {
        let timer = self.timers.iter().map(|(&timer, &at)| (at, timer)).min();
        tokio::select! {
            () = self.unwanted.cancelled(), if !self.told_unwanted => {
                self.told_unwanted = true;
                Some(Seen::Unwanted)
            }
            Some(news) = self.news.recv() => self.hear(news),
            started = optional(&mut self.starting) => {
                self.starting = None;
                self.started(started)
            }
            looked = optional(&mut self.looking) => {
                self.looking = None;
                self.looked(looked)
            }
            Some(seen) = next_result(&mut self.checking) => Some(seen),
            gone = optional(&mut self.terminal_gone) => {
                self.terminal_gone = None;
                // A session that ended with its process has nothing to say.
                gone.is_ok().then_some(Seen::TerminalGone)
            }
            Some(timer) = at(timer) => {
                self.timers.remove(&timer);
                Some(Seen::Woke(timer))
            }
        }
    }

    fn hear(&mut self, news: News) -> Option<Seen> {
        let ours = |container: &str| self.pod.record().container.as_deref() == Some(container);
        match news {
            News::EngineBack => Some(Seen::EngineBack),
            News::Disk(order) => Some(Seen::Disk(order)),
            News::OutOfMemory { container } => ours(&container).then_some(Seen::OutOfMemory),
            News::SandboxDied { sandbox } => {
                let record = self.pod.record();
                if record.sandbox == Some(sandbox)
                    && let Some(container) = record.container.clone()
                {
                    self.look(container, SIGKILL_CODE);
                }
                None
            }
            News::Died { container, code } => {
                if self.starting.is_some() {
                    self.missed_death = Some((container, code));
                } else if ours(&container) {
                    self.look(container, code);
                }
                None
            }
        }
    }

    fn look(&mut self, container: String, code: i64) {
        if self.looking.is_none() {
            let look = look(self.host.engine.clone(), container, code);
            self.looking = Some(AbortOnDropHandle::new(tokio::spawn(look)));
        }
    }

    fn looked(&mut self, looked: Result<Looked, tokio::task::JoinError>) -> Option<Seen> {
        match looked.ok()? {
            Looked::Ended(exit) => {
                if let Some(session) = self.session.take() {
                    let _ = session.send(exit.code);
                }
                Some(Seen::Ended(exit))
            }
            Looked::Running { cut_off: true, .. } => Some(Seen::CutOff),
            // Somebody restarted the container behind our back.
            Looked::Running { running, pid, .. } => {
                let since = self.pod.record().status.started_at;
                (since != Some(running.started_at)).then(|| {
                    self.aim(&running, pid);
                    Seen::Started(running)
                })
            }
        }
    }

    fn started(
        &mut self,
        started: Result<Result<Started, NotStarted>, tokio::task::JoinError>,
    ) -> Option<Seen> {
        let started = match started.ok()? {
            Ok(started) => started,
            Err(error) => {
                return Some(Seen::StartFailed {
                    reason: error.to_string(),
                });
            }
        };
        let container = started.container;
        if let Some(Session { exit, gone }) = started.session {
            self.session = Some(exit);
            self.terminal_gone = Some(gone);
        }
        let died = self
            .missed_death
            .take()
            .filter(|(died, _)| *died == container);
        let running = match started.inspected {
            Inspected::Running {
                running,
                pid,
                cut_off,
            } => {
                self.aim(&running, pid);
                self.note_start();
                let died = died.or(cut_off.then_some((container, SIGKILL_CODE)));
                if let Some((container, code)) = died {
                    self.look(container, code);
                }
                running
            }
            Inspected::Dead { .. } | Inspected::Missing => {
                let code = died.map_or(SIGKILL_CODE, |(_, code)| code);
                self.look(container.clone(), code);
                Running {
                    container,
                    address: None,
                    sandbox: started.sandbox,
                    started_at: Utc::now(),
                }
            }
        };
        Some(Seen::Started(running))
    }

    fn aim(&mut self, running: &Running, pid: Option<i64>) {
        self.target = Some(Target {
            address: running.address,
            port: self.pod.spec().port,
            pid,
            started_at: running.started_at,
            inside: Some(Inside {
                engine: self.host.engine.clone(),
                container: running.container.clone(),
            }),
        });
    }

    async fn act(&mut self, thing: Do) {
        match thing {
            Do::Start { run } => {
                let (host, part) = (self.host.clone(), self.place.part.clone());
                self.cancel_start = CancellationToken::new();
                let cancel = self.cancel_start.clone();
                let net = match &self.place.net {
                    Some(net) => NetWish::Shared(net.clone()),
                    None => NetWish::Alone {
                        kept: self.pod.record().sandbox.clone(),
                    },
                };
                let start = async move { host.starter.start(&part, run, &net, &cancel).await };
                self.starting = Some(AbortOnDropHandle::new(tokio::spawn(start)));
            }
            Do::CancelStart => self.cancel_start.cancel(),
            Do::Signal(signal) => self.signal(&signal).await,
            Do::CheckStartup => self.check_startup(),
            Do::CheckPeriodically => self.check_periodically(),
            Do::NoChecks => self.checking = None,
            Do::Follow { container } => self.follow(&container),
            Do::Bury { container } => self.bury(container),
            Do::Wake { after, timer } => {
                self.timers.insert(timer, Instant::now() + after);
            }
            Do::Say(text) => self.host.logs.say(&self.writer, text),
            Do::Gone => {}
        }
    }

    async fn signal(&mut self, signal: &str) {
        let Some(container) = self.pod.record().container.clone() else {
            return;
        };
        let sending = self.host.engine.signal(&container, signal);
        match timeout(Duration::from_secs(SIGNAL_SECS), sending).await {
            Ok(Ok(())) => {}
            // It has ended by itself, or somebody removed it.
            Ok(Err(error)) if matches!(error.status(), Some(404 | 409)) => {
                self.look(container, SIGKILL_CODE);
            }
            Ok(Err(error)) => tracing::warn!(container, "cannot send {signal}: {error}"),
            Err(_) => tracing::warn!(container, "sending {signal} takes too long"),
        }
    }

    fn check_startup(&mut self) {
        let Some((checks, target)) = self.pod.spec().checks.clone().zip(self.target.clone()) else {
            return;
        };
        let (results, received) = mpsc::channel(checks::RESULTS_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(checks::startup(self.pod.spec().id, checks, target, results));
        self.checking = Some((received, tasks));
    }

    fn check_periodically(&mut self) {
        self.checking = None;
        let Some((checks, target)) = self.pod.spec().checks.clone().zip(self.target.clone()) else {
            return;
        };
        let (results, received) = mpsc::channel(checks::RESULTS_MAX);
        let mut tasks = JoinSet::new();
        let kinds = [
            (Repeating::Readiness, checks.readiness),
            (Repeating::Liveness, checks.liveness),
        ];
        for (kind, periodic) in kinds {
            if let Some(periodic) = periodic {
                tasks.spawn(checks::repeat(
                    kind,
                    periodic,
                    target.clone(),
                    results.clone(),
                ));
            }
        }
        if !tasks.is_empty() {
            self.checking = Some((received, tasks));
        }
    }

    fn follow(&mut self, container: &str) {
        if self
            .follower
            .as_ref()
            .is_some_and(|follower| follower.reads(container))
        {
            return;
        }
        self.follower = Some(logs::follow(
            self.host.engine.clone(),
            container,
            self.writer.clone(),
            self.host.logs.clone(),
            &self.host.places,
            self.host.shutdown.clone(),
        ));
    }

    fn bury(&mut self, container: String) {
        let burial = bury(self.host.clone(), container, self.follower.take());
        self.burying.retain(|burial| !burial.is_finished());
        self.burying.push(self.host.burials.spawn(burial));
    }

    /// Waits until nothing of the container is left, then takes the pod off the board, or leaves
    /// that to its group.
    async fn leave(mut self) {
        self.tell();
        for burial in self.burying.drain(..) {
            drop(burial.await);
        }
        if matches!(self.place.hears, Hears::Group { .. }) {
            return;
        }
        if let Some(sandbox) = self.pod.record().sandbox.clone() {
            self.host.starter.sandboxes.release(sandbox);
        }
        self.host.board.remove(self.pod.spec().id);
    }

    fn tell(&self) {
        let record = self.pod.record();
        match &self.place.hears {
            Hears::Board => self.host.board.put(record),
            Hears::Group { seat, records } => {
                records.send_modify(|all| drop(all.insert(*seat, record.clone())));
            }
        }
    }

    /// A pod like it will probably follow.
    fn note_start(&self) {
        let part = &self.place.part;
        if part.name.is_main() {
            self.host.starter.sandboxes.note(&part.pod);
        }
    }
}

/// Waits for a future that may not be there; for ever if it is not.
async fn optional<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn next_result(checking: &mut Option<(mpsc::Receiver<Seen>, JoinSet<()>)>) -> Option<Seen> {
    match checking {
        Some((results, _)) => match results.recv().await {
            Some(seen) => Some(seen),
            // The startup check has said its last; nothing more comes.
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

async fn at(timer: Option<(Instant, Timer)>) -> Option<Timer> {
    let (at, timer) = timer?;
    sleep_until(at).await;
    Some(timer)
}
