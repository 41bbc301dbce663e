//! Ends a command in a container with everything that it started. The engine cannot: a command
//! whose connection is gone goes on for ever there.
//!
//! Each command is the leader of a session of its own (runc sees to it), so its processes are
//! those of that session, whatever process groups a shell has put them into. Their numbers are this
//! machine's: an agent that is root signals them itself, one that is not asks the engine to run
//! `kill` in the container.

use std::{fs, io, time::Duration};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio::time::{Instant, sleep, timeout};

use crate::engine::{Command, Engine};

/// How long processes may take to end by themselves after their terminal has closed.
const HANGUP_MAX: Duration = Duration::from_secs(2);
/// How long until killed processes are gone; only those that wait for a dead disk take longer.
const KILL_MAX: Duration = Duration::from_secs(5);
/// Pause between two looks at what is left.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long `kill` in a container may take.
const INSIDE_MAX: Duration = Duration::from_secs(10);
/// The most bytes of a process's environment that are searched.
const ENVIRONMENT_BYTES_MAX: usize = 1024 * 1024;

/// Ends the session whose leader has this number on this machine: first as a closing terminal
/// does, then by force.
pub(crate) async fn end_session(engine: &Engine, container: &str, leader: i64) {
    let Ok(leader) = i32::try_from(leader) else {
        return;
    };
    for (signal, patience) in [(Signal::HUP, HANGUP_MAX), (Signal::KILL, KILL_MAX)] {
        let began = Instant::now();
        let mut first = true;
        loop {
            let left = members(leader);
            if left.is_empty() {
                return;
            }
            if began.elapsed() > patience {
                break;
            }
            // A process that was forked meanwhile is killed in the next round.
            if (first || signal == Signal::KILL) && send(leader, &left, signal).is_err() {
                inside(engine, container, &left, signal).await;
            }
            first = false;
            sleep(LOOK_AGAIN).await;
        }
    }
    tracing::warn!(container, leader, "processes of a session cannot be ended");
}

/// The processes of a session, zombies left out.
fn members(leader: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return vec![];
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&process: &i32| session_of(process) == Some(leader))
        .collect()
}

fn session_of(process: i32) -> Option<i32> {
    session(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// The session that a line of `/proc/PID/stat` names; `None` for a zombie.
fn session(stat: &str) -> Option<i32> {
    // The name before may have blanks and brackets of its own.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(2)?.parse().ok()
}

fn send(leader: i32, processes: &[i32], signal: Signal) -> io::Result<()> {
    for &process in processes {
        let Some(pid) = Pid::from_raw(process) else {
            continue;
        };
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(Errno::SRCH) => continue,
            Err(error) => return Err(error.into()),
        };
        // The number may have become another process's; from here on it cannot.
        if session_of(process) != Some(leader) {
            continue;
        }
        match pidfd_send_signal(&handle, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
        if signal == Signal::HUP {
            // A stopped process hears it only when it goes on.
            let _ = pidfd_send_signal(&handle, Signal::CONT);
        }
    }
    Ok(())
}

/// The same by a command in the container, as its root.
async fn inside(engine: &Engine, container: &str, processes: &[i32], signal: Signal) {
    let name = if signal == Signal::HUP { "HUP" } else { "KILL" };
    let mut words: Vec<String> = ["sh", "-c", "kill -s \"$0\" \"$@\""].map(Into::into).into();
    words.push(name.into());
    words.extend(
        processes
            .iter()
            .filter_map(|&it| number_inside(it))
            .map(|it| it.to_string()),
    );
    let command = Command {
        words,
        env: vec![],
        tty: false,
        input: false,
        user: Some("0".into()),
    };
    let killing = async {
        let exec = engine.make_exec(container, &command).await?;
        let mut attached = engine.start_exec(&exec, false).await?;
        while let Ok(Some(_)) = attached.output.next().await {}
        Ok::<_, crate::engine::EngineError>(())
    };
    match timeout(INSIDE_MAX, killing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(container, "cannot end a session's processes: {error}"),
        Err(_) => tracing::warn!(container, "ending a session's processes takes too long"),
    }
}

/// A process's number in its own container.
fn number_inside(process: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let numbers = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_ascii_whitespace().last()?.parse().ok()
}

/// Whether a process was started with this variable; false also if that cannot be read.
pub(super) fn has_variable(process: i64, name: &str) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{process}/environ")) else {
        return false;
    };
    let start = &environment[..environment.len().min(ENVIRONMENT_BYTES_MAX)];
    start.split(|&byte| byte == 0).any(|variable| {
        variable
            .strip_prefix(name.as_bytes())
            .is_some_and(|rest| rest.first() == Some(&b'='))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_stands_after_a_name_that_may_be_anything() {
        for (stat, expect) in [
            ("7 (sh) S 1 7 5 34817 9 4194304 1", Some(5)),
            ("7 (a) b) (c) S 1 7 5 34817 9", Some(5)),
            ("7 (sh) Z 1 7 5 0 -1", None),
            ("", None),
            ("7 (sh) S 1", None),
        ] {
            assert_eq!(session(stat), expect, "{stat}");
        }
    }

    #[test]
    fn this_process_is_in_its_own_session() {
        let process = i32::try_from(std::process::id()).unwrap();
        let leader = session_of(process).unwrap();
        assert!(members(leader).contains(&process));
        assert!(has_variable(process.into(), "PATH"));
        assert!(!has_variable(process.into(), "PAT"));
    }
}
