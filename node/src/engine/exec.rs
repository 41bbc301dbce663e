//! Commands beside a container's main process.

use std::time::Duration;

use bollard::{
    models::ExecConfig,
    query_parameters::{InspectContainerOptions, ResizeExecOptions},
};
use bytes::Bytes;
use tokio::time::sleep;

use super::{Attached, Engine, EngineError};

/// Pause between two looks at a command that begins or ends, in milliseconds, at first and at most.
/// The engine has no way to wait for that.
const LOOK_MILLIS: (u64, u64) = (5, 500);

/// Keys that would detach, as [`Engine::attach`] has them.
const DETACH_KEYS: &str = "ctrl-@,ctrl-_,ctrl-@,ctrl-_";

/// A command to run in a container, with its environment and streams.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) words: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) tty: bool,
    /// Whether it reads anything.
    pub(crate) input: bool,
    /// Another user than the container's.
    pub(crate) user: Option<String>,
}

/// How a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExecState {
    pub(crate) running: bool,
    /// On this machine; set once it runs.
    pub(crate) pid: Option<i64>,
    pub(crate) code: Option<i64>,
}

impl Engine {
    /// Makes a command ready to be started; gives its id.
    pub(crate) async fn make_exec(
        &self,
        container: &str,
        command: &Command,
    ) -> Result<String, EngineError> {
        let config = ExecConfig {
            attach_stdin: Some(command.input),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(command.tty),
            env: Some(command.env.clone()),
            cmd: Some(command.words.clone()),
            user: command.user.clone(),
            detach_keys: Some(DETACH_KEYS.into()),
            ..ExecConfig::default()
        };
        let made = self.docker().await?.create_exec(container, config).await;
        made.map(|made| made.id)
            .map_err(self.failed("run a command in the container"))
    }

    /// Starts a command; gives its streams.
    pub(crate) async fn start_exec(&self, id: &str, tty: bool) -> Result<Attached, EngineError> {
        let body = serde_json::json!({ "Detach": false, "Tty": tty });
        self.take_over(
            "run a command in the container",
            &format!("/exec/{id}/start"),
            Bytes::from(body.to_string()),
            tty,
        )
        .await
    }

    pub(crate) async fn look_at_exec(&self, id: &str) -> Result<ExecState, EngineError> {
        let found = self.docker().await?.inspect_exec(id).await;
        let found = found.map_err(self.failed("look at a command"))?;
        Ok(ExecState {
            running: found.running.unwrap_or_default(),
            pid: found.pid.filter(|&pid| pid > 0),
            code: found.exit_code,
        })
    }

    /// Waits until a command has ended; `None` if the engine forgot it or is away.
    pub(crate) async fn end_of_exec(&self, id: &str) -> Option<i64> {
        let ended = |state: &ExecState| !state.running && state.code.is_some();
        self.watch_exec(id, ended).await?.code
    }

    /// Waits until a command that was started has a number on this machine, which the engine gives
    /// it only after it has handed over the streams; `None` if it could not be run.
    pub(crate) async fn pid_of_exec(&self, id: &str) -> Option<i64> {
        let begun = |state: &ExecState| state.pid.is_some() || state.code.is_some();
        self.watch_exec(id, begun).await?.pid
    }

    async fn watch_exec(&self, id: &str, until: impl Fn(&ExecState) -> bool) -> Option<ExecState> {
        let mut pause = LOOK_MILLIS.0;
        loop {
            let state = self.look_at_exec(id).await.ok()?;
            if until(&state) {
                return Some(state);
            }
            sleep(Duration::from_millis(pause)).await;
            pause = (pause * 2).min(LOOK_MILLIS.1);
        }
    }

    pub(crate) async fn resize_exec(
        &self,
        id: &str,
        rows: u16,
        columns: u16,
    ) -> Result<(), EngineError> {
        let options = ResizeExecOptions {
            h: rows.into(),
            w: columns.into(),
        };
        let done = self.docker().await?.resize_exec(id, options).await;
        done.map_err(self.failed("resize the terminal"))
    }

    /// Commands that run beside the main process of a container.
    pub(crate) async fn execs(&self, container: &str) -> Result<Vec<String>, EngineError> {
        let found = self
            .docker()
            .await?
            .inspect_container(container, None::<InspectContainerOptions>)
            .await;
        let found = found.map_err(self.failed("look at the container"))?;
        Ok(found.exec_ids.unwrap_or_default())
    }
}
