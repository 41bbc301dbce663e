//! A developer with a home and a working directory of their own.

use std::{
    path::{Path, PathBuf},
    process::Command as Process,
};

use assert_cmd::Command;
use tempfile::TempDir;

use crate::fake_api::{FakeApi, TOKEN};

/// How long a command may take before the test gives up on it, in seconds.
const COMMAND_SECS_MAX: u64 = 60;

pub(crate) struct Person {
    home: TempDir,
    pub(crate) api: FakeApi,
}

/// What a command did.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Person {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("work")).unwrap();
        Self {
            home,
            api: FakeApi::start(),
        }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.home.path().join("work")
    }

    pub(crate) fn credentials_file(&self) -> PathBuf {
        self.home.path().join(".config/fairway/credentials.toml")
    }

    /// `app` with nothing in its environment but a home.
    pub(crate) fn bare(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_app"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.home())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .current_dir(self.work())
            .timeout(std::time::Duration::from_secs(COMMAND_SECS_MAX));
        command
    }

    /// `app` with server and token in its environment.
    pub(crate) fn app(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(arguments);
        command
            .env("FAIRWAY_URL", self.api.url())
            .env("FAIRWAY_TOKEN", TOKEN);
        command
    }

    /// The same for the app `shop`.
    pub(crate) fn shop(&self, arguments: &[&str]) -> Command {
        let mut command = self.app(arguments);
        command.env("FAIRWAY_APP", "shop");
        command
    }

    /// Runs git in the working directory.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = Process::new("git")
            .args(arguments)
            .env("HOME", self.home())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .current_dir(self.work())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Done {
    let output = command.output().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
