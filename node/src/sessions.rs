//! Answers people's sessions with this machine's pods: a command, a connection to a port, a watch.
//!
//! The controller tells of one through a long poll of its own; each is answered by dialling back,
//! since a machine behind NAT can only dial out. Nothing outlives its socket: what a session
//! started ends with it.

mod command;
mod loopback;
mod processes;

use std::{
    collections::HashSet,
    io::ErrorKind,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fairway_api::{
    client::{Client, Side},
    ids::{AttachId, PodId},
    names::{ContainerName, NodeName},
    sessions::{SessionOrder, SessionWork},
};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{attach, board::Board, engine::Engine};

use loopback::Loopback;

pub(crate) use command::sweep;
pub(crate) use processes::end_session;

/// Sessions that one machine answers at once; more are refused.
const SESSIONS_MAX: usize = 1_000;
/// Pause between two tries when the controller is away, in milliseconds, at first and at most.
const AGAIN_MILLIS: (u64, u64) = (100, 5_000);
/// How long a pod may take to accept a connection, in seconds.
const CONNECT_SECS: u64 = 5;
/// How long ending sessions may hold up the end of the agent, in seconds.
const LEAVE_SECS: u64 = 5;

/// What answering a session needs.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    client: Client,
    node: NodeName,
    engine: Arc<Engine>,
    board: watch::Receiver<Board>,
    shutdown: CancellationToken,
}

impl Answers {
    pub(crate) fn new(
        client: &Client,
        node: &NodeName,
        engine: &Arc<Engine>,
        board: watch::Receiver<Board>,
        shutdown: &CancellationToken,
    ) -> Self {
        Self {
            client: client.clone(),
            node: node.clone(),
            engine: engine.clone(),
            board,
            shutdown: shutdown.clone(),
        }
    }
}

/// Answers sessions until the agent ends, and with it every one of them.
pub(crate) async fn answer(answers: Answers) {
    let open = TaskTracker::new();
    let shutdown = answers.shutdown.clone();
    shutdown.run_until_cancelled(listen(&answers, &open)).await;
    open.close();
    if timeout(Duration::from_secs(LEAVE_SECS), open.wait())
        .await
        .is_err()
    {
        tracing::warn!("sessions are left behind; the next start ends what they started");
    }
}

async fn listen(answers: &Answers, open: &TaskTracker) {
    sweep(&answers.engine).await;
    let busy: Arc<Mutex<HashSet<AttachId>>> = Arc::default();
    let mut failures = 0_u32;
    loop {
        let orders = match answers.client.node_sessions(&answers.node).await {
            Ok(orders) => orders,
            Err(error) => {
                if failures == 0 {
                    tracing::warn!("cannot hear of sessions: {:#}", anyhow::Error::from(error));
                }
                let pause = AGAIN_MILLIS.0.saturating_mul(1 << failures.min(16));
                failures = failures.saturating_add(1);
                sleep(Duration::from_millis(pause.min(AGAIN_MILLIS.1))).await;
                continue;
            }
        };
        failures = 0;
        for order in orders {
            let id = order.id;
            let is_new = |busy: &mut HashSet<_>| busy.len() < SESSIONS_MAX && busy.insert(id);
            if !is_new(&mut busy.lock().unwrap_or_else(PoisonError::into_inner)) {
                continue;
            }
            let (answers, busy) = (answers.clone(), busy.clone());
            open.spawn(async move {
                serve(&answers, order).await;
                busy.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&id);
            });
        }
    }
}

async fn serve(answers: &Answers, order: SessionOrder) {
    let mut socket = match answers.client.attach_pod(order.id).await {
        Ok(socket) => socket,
        Err(error) => {
            // Most often the person has gone meanwhile.
            let error = anyhow::Error::from(error);
            return tracing::debug!(pod = %order.pod, "cannot answer a session: {error:#}");
        }
    };
    let found = find(&answers.board.borrow(), &order);
    let done = match found {
        Err(reason) => Err(reason),
        Ok(target) => match &order.work {
            SessionWork::Exec { command, tty, env } => {
                let command = command::of(command, env, *tty);
                command::run(answers, &target.container, command, socket).await;
                return;
            }
            SessionWork::Connect { port } => {
                match connect(&answers.engine, &target, *port, &order.pod_name).await {
                    Ok(stream) => {
                        let carried = socket.carry(stream, Side::Pod);
                        drop(answers.shutdown.run_until_cancelled(carried).await);
                        return;
                    }
                    Err(reason) => Err(reason),
                }
            }
            SessionWork::Watch => {
                let ended = until_ended(answers.board.clone(), order.pod);
                tokio::select! {
                    why = ended => Err(format!("{} {why}", order.pod_name)),
                    // The person has gone; what else is said means nothing here.
                    () = async { while let Ok(Some(_)) = socket.receive().await {} } => Ok(()),
                    () = answers.shutdown.cancelled() => Err("the machine's agent was stopped".into()),
                }
            }
        },
    };
    if let Err(reason) = done {
        attach::fail(&mut socket, reason).await;
    }
}

/// The container that a session is for.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    container: String,
    address: Option<IpAddr>,
}

/// Only pods of this machine are on the board.
fn find(board: &Board, order: &SessionOrder) -> Result<Target, String> {
    let name = &order.pod_name;
    let record = board.pods.get(&order.pod);
    let record = record.ok_or_else(|| format!("{name} is not on this machine"))?;
    let main = ContainerName::main();
    let wanted = order.container.as_deref().unwrap_or(main.as_str());
    let containers = record.containers();
    let found = containers.iter().find(|(name, _)| name.as_str() == wanted);
    let (_, found) = found.ok_or_else(|| format!("{name} has no container named {wanted}"))?;
    match found.running() {
        Some(container) => Ok(Target {
            container: container.clone(),
            address: record.status.address,
        }),
        None if wanted == main.as_str() => Err(format!("{name} does not run at the moment")),
        None => Err(format!("{wanted} of {name} does not run at the moment")),
    }
}

/// Connects to a port of a pod; to what listens on the pod's own loopback only, from within its
/// network.
async fn connect(
    engine: &Engine,
    target: &Target,
    port: u16,
    pod: &str,
) -> Result<TcpStream, String> {
    let address = target.address;
    let address = address.ok_or_else(|| format!("{pod} has no address on the pod network"))?;
    let connecting = TcpStream::connect((address, port));
    let refused = match timeout(Duration::from_secs(CONNECT_SECS), connecting).await {
        Ok(Ok(stream)) => return Ok(ready(stream)),
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => error,
        Ok(Err(error)) => return Err(format!("cannot connect to port {port} of {pod}: {error}")),
        Err(_) => return Err(format!("{pod} did not accept a connection to port {port}")),
    };
    match loopback::connect(engine, &target.container, port).await {
        Ok(stream) => Ok(ready(stream)),
        Err(Loopback::Refused) => Err(format!(
            "cannot connect to port {port} of {pod}: {refused}; nothing there listens on it"
        )),
        Err(Loopback::Closed(why)) => Err(format!(
            "cannot connect to port {port} of {pod}: {refused}; a process there must listen on \
             0.0.0.0, not only on 127.0.0.1, since this machine's agent cannot enter the pod's \
             network ({why})"
        )),
    }
}

fn ready(stream: TcpStream) -> TcpStream {
    // It carries what a person types as well as what a database dumps.
    drop(stream.set_nodelay(true));
    stream
}

/// Waits until a pod does not run any more, and says why.
async fn until_ended(mut board: watch::Receiver<Board>, pod: PodId) -> String {
    let started = board
        .borrow()
        .pods
        .get(&pod)
        .and_then(|record| record.status.started_at);
    let ended = board.wait_for(|board| {
        board
            .pods
            .get(&pod)
            .is_none_or(|record| record.status.started_at != started || record.container.is_none())
    });
    let Ok(board) = ended.await else {
        return "is out of sight: the machine's agent was stopped".into();
    };
    let exit = board
        .pods
        .get(&pod)
        .and_then(|it| it.status.last_exit.as_ref());
    exit.map_or_else(|| "has ended".into(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use fairway_api::pods::PodPhase;

    use super::*;
    use crate::pod::Record;

    #[test]
    fn a_session_finds_only_what_runs_here() {
        let pod = PodId::from_u128(1);
        let order = |container: Option<&str>, pod| SessionOrder {
            id: AttachId::from_u128(1),
            pod,
            pod_name: "web.1".into(),
            container: container.map(Into::into),
            work: SessionWork::Watch,
        };
        let board = |phase, container: Option<&str>| {
            let mut board = Board::default();
            let mut record = Record::new(pod);
            record.status.phase = phase;
            record.container = container.map(Into::into);
            board.pods.insert(pod, record);
            board
        };
        let running = PodPhase::Running { ready: true };
        let up = board(running.clone(), Some("c1"));
        assert_eq!(find(&up, &order(None, pod)).unwrap().container, "c1");
        assert_eq!(
            find(&up, &order(Some("main"), pod)).unwrap().container,
            "c1"
        );
        let mut several = board(running.clone(), Some("c1"));
        let record = several.pods.get_mut(&pod).unwrap();
        let main = record.clone();
        let mut proxy = main.clone();
        proxy.container = Some("c2".into());
        let named = |name: &str| name.parse::<ContainerName>().unwrap();
        record.members = [(named("main"), main), (named("proxy"), proxy)].into();
        for (name, expect) in [(None, "c1"), (Some("main"), "c1"), (Some("proxy"), "c2")] {
            let found = find(&several, &order(name, pod)).unwrap();
            assert_eq!(found.container, expect, "{name:?}");
        }
        for (board, order, expect) in [
            (
                &up,
                order(None, PodId::from_u128(2)),
                "web.1 is not on this machine",
            ),
            (&up, order(Some("x"), pod), "web.1 has no container named x"),
            (
                &board(PodPhase::Exited, Some("c1")),
                order(None, pod),
                "web.1 does not run at the moment",
            ),
            (
                &board(running, None),
                order(None, pod),
                "web.1 does not run at the moment",
            ),
        ] {
            assert_eq!(find(board, &order).unwrap_err(), expect);
        }
    }
}
