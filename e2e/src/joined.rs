//! A machine that joins a cluster: the real agent in a process and a data directory of its own,
//! beside the engine of one of [`crate::Machines`].

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use anyhow::Context;
use tempfile::TempDir;

use crate::{
    Machine,
    platform::{program, run},
};

/// A machine that joined, or tries to.
#[derive(Debug)]
pub struct JoinedNode<'a> {
    machine: &'a Machine,
    home: TempDir,
    process: Option<Child>,
}

impl<'a> JoinedNode<'a> {
    /// Runs the command that `fairway node token` printed, with further arguments.
    pub fn join(machine: &'a Machine, command: &str, more: &[&str]) -> anyhow::Result<Self> {
        let home = tempfile::Builder::new().prefix("fairway-node-").tempdir()?;
        let mut node = Self {
            machine,
            home,
            process: None,
        };
        let words = command.split_whitespace().skip(1);
        let words: Vec<&str> = words.chain(more.iter().copied()).collect();
        node.spawn(&words)?;
        Ok(node)
    }

    /// Starts its agent again.
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.spawn(&["node", "run"])
    }

    fn spawn(&mut self, words: &[&str]) -> anyhow::Result<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.home.path().join("log"))?;
        let process = self
            .machine
            .command(program("fairway"))
            .args(words)
            .args(["--data".as_ref(), self.data().as_os_str()])
            .args(["--engine".as_ref(), self.machine.socket().as_os_str()])
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start target/debug/fairway; build the workspace first")?;
        self.process = Some(process);
        Ok(())
    }

    /// Kills its agent with SIGKILL. Its pods go on.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            drop(process.wait());
        }
    }

    /// Asks its agent to stop, and waits. Its pods go on.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            run(Command::new("kill").args(["-TERM", &process.id().to_string()]))?;
            process.wait()?;
        }
        Ok(())
    }

    /// How its agent ended; `None` while it runs.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let process = self.process.as_mut().context("no agent was started")?;
        Ok(process.try_wait()?)
    }

    /// The agent's directory.
    pub fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// What its agent has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// Ids of its running containers.
    pub fn containers(&self) -> anyhow::Result<Vec<String>> {
        let text = self.machine.docker(&["ps", "--quiet"])?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

impl Drop for JoinedNode<'_> {
    fn drop(&mut self) {
        if self.stop().is_err() {
            self.kill();
        }
    }
}

/// Changes a JSON file as an accident or a long time would.
///
/// # Errors
/// When the file cannot be read or written, or is no JSON.
pub fn change_json(path: &Path, change: impl FnOnce(&mut serde_json::Value)) -> anyhow::Result<()> {
    let mut value = serde_json::from_slice(&fs::read(path)?)?;
    change(&mut value);
    Ok(fs::write(path, serde_json::to_vec(&value)?)?)
}
