//! A command beside a pod's own process, joined to its person, and its end.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fairway_api::{client::AttachSocket, sessions::SESSION_VARIABLE};
use tokio::time::timeout;

use super::{Answers, end_session, processes};
use crate::{
    attach::{self, Screen},
    diff::State,
    engine::{Command, Engine},
};

/// How long the engine may take for one question while left-behind commands are looked for, in
/// seconds.
const SWEEP_SECS: u64 = 30;

/// A command as the engine takes it.
pub(super) fn of(words: &[String], env: &BTreeMap<String, String>, tty: bool) -> Command {
    Command {
        words: words.to_vec(),
        env: env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        tty,
        input: true,
        user: None,
    }
}

/// Runs a command until it ends, its person goes, or the agent stops; then nothing of it is left.
pub(super) async fn run(
    answers: &Answers,
    container: &str,
    command: Command,
    mut socket: AttachSocket,
) {
    let engine = &answers.engine;
    let begun = async {
        let exec = engine.make_exec(container, &command).await?;
        let attached = engine.start_exec(&exec, command.tty).await?;
        Ok::<_, crate::engine::EngineError>((exec, attached))
    };
    let (exec, attached) = match begun.await {
        Ok(begun) => begun,
        Err(error) => return attach::fail(&mut socket, error.message()).await,
    };
    let ended = engine.end_of_exec(&exec);
    let screen = Screen::Exec(exec.clone());
    let carried = attach::carry(engine.clone(), screen, command.tty, attached, socket, ended);
    let carried = answers.shutdown.run_until_cancelled(carried);
    let (_, pid) = tokio::join!(carried, engine.pid_of_exec(&exec));
    // What it put into the background goes too.
    if let Some(pid) = pid {
        end_session(engine, container, pid).await;
    }
}

/// Ends commands of sessions that an agent which was killed left behind.
pub(crate) async fn sweep(engine: &Arc<Engine>) {
    let Ok(seen) = engine.list().await else {
        return;
    };
    for container in seen.containers {
        if container.state != State::Running {
            continue;
        }
        let looked = timeout(Duration::from_secs(SWEEP_SECS), engine.execs(&container.id));
        let Ok(Ok(execs)) = looked.await else {
            continue;
        };
        for exec in execs {
            let Ok(state) = engine.look_at_exec(&exec).await else {
                continue;
            };
            if let Some(pid) = state.pid.filter(|_| state.running)
                && processes::has_variable(pid, SESSION_VARIABLE)
            {
                tracing::info!(
                    container = container.id,
                    "ending a session that was left behind"
                );
                end_session(engine, &container.id, pid).await;
            }
        }
    }
}
