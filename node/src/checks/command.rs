//! A check by a program in the container.

use std::{sync::Arc, time::Duration};

use fairway_api::{checks::CHECK_RESPONSE_BYTES_MAX, sessions::SESSION_VARIABLE};
use tokio::time::timeout;

use super::probe::{Bad, Inside};
use crate::{
    engine::{Command, Engine, EngineError},
    sessions::end_session,
};

/// How much of the last line stands in the reason, in bytes.
const LAST_LINE_BYTES_MAX: usize = 200;

/// Runs the program; it passes with exit code 0, within the time limit. One that takes longer is
/// ended, with everything that it started.
pub(super) async fn run(inside: &Inside, words: &[String], timeout_secs: u32) -> Result<(), Bad> {
    let command = Command {
        words: words.to_vec(),
        env: vec![format!("{SESSION_VARIABLE}=check")],
        tty: false,
        input: false,
        user: None,
    };
    let limit = Duration::from_secs(timeout_secs.max(1).into());
    let mut output = Vec::new();
    let ran = timeout(limit, one_run(inside, &command, &mut output)).await;
    let said = String::from_utf8_lossy(&output);
    let why = match ran {
        Ok(Ok(Some(0))) => return Ok(()),
        Ok(Ok(Some(code))) => format!("exited with code {code}"),
        Ok(Ok(None)) => "the engine does not know how it ended".into(),
        Ok(Err(error)) => format!("it could not be run: {}", error.message()),
        Err(_) => format!("it did not end within {timeout_secs} seconds"),
    };
    Err(Bad {
        why: with_last_line(why, &said),
        response: (!said.is_empty()).then(|| said.into_owned()),
    })
}

async fn one_run(
    inside: &Inside,
    command: &Command,
    said: &mut Vec<u8>,
) -> Result<Option<i64>, EngineError> {
    let Inside { engine, container } = inside;
    let exec = engine.make_exec(container, command).await?;
    let mut attached = engine.start_exec(&exec, false).await?;
    let mut running = Running {
        engine: engine.clone(),
        container: container.clone(),
        exec: Some(exec.clone()),
    };
    while let Ok(Some((_, bytes))) = attached.output.next().await {
        said.extend_from_slice(&bytes);
        said.drain(..said.len().saturating_sub(CHECK_RESPONSE_BYTES_MAX));
    }
    let code = engine.end_of_exec(&exec).await;
    running.exec = code.is_none().then_some(exec);
    Ok(code)
}

/// A program that must not outlive its check, however that ends.
struct Running {
    engine: Arc<Engine>,
    container: String,
    /// Until it is known to have ended.
    exec: Option<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let (Some(exec), Ok(runtime)) = (self.exec.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let (engine, container) = (self.engine.clone(), std::mem::take(&mut self.container));
        runtime.spawn(async move {
            if let Some(pid) = engine.pid_of_exec(&exec).await {
                end_session(&engine, &container, pid).await;
            }
        });
    }
}

/// The reason, and the last thing that the program said.
fn with_last_line(why: String, said: &str) -> String {
    let last = said
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty());
    match last {
        Some(line) => {
            let end = line.floor_char_boundary(LAST_LINE_BYTES_MAX);
            format!("{why}: {}", &line[..end])
        }
        None => why,
    }
}

#[cfg(test)]
mod tests {
    use super::with_last_line;

    #[test]
    fn the_reason_has_the_last_line() {
        for (said, expect) in [
            ("", "exited with code 1"),
            ("\n\n", "exited with code 1"),
            ("one\ntwo\n\n", "exited with code 1: two"),
        ] {
            assert_eq!(with_last_line("exited with code 1".into(), said), expect);
        }
        let long = with_last_line(String::new(), &"ä".repeat(500));
        assert_eq!(long.chars().count(), 2 + 100);
    }
}
