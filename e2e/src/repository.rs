//! A working copy with the real git client.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::Context;
use fairway_api::secret::Secret;
use tempfile::TempDir;

use crate::platform::run;

/// A git repository in a directory of its own.
#[derive(Debug)]
pub struct Repository {
    dir: TempDir,
    token: Secret,
}

/// How a push ended.
#[derive(Debug)]
pub struct Pushed {
    pub ok: bool,
    /// Everything that git printed.
    pub output: String,
}

impl Repository {
    /// An empty repository whose HTTP pushes use this token.
    pub fn new(token: &Secret) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("fairway-repo-").tempdir()?;
        let repository = Self {
            dir,
            token: token.clone(),
        };
        repository.git(&["init", "-q", "-b", "main"])?;
        Ok(repository)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file, with its directories.
    pub fn write(&self, path: &str, text: &str) -> anyhow::Result<()> {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().context("a path in the repository")?)?;
        Ok(fs::write(path, text)?)
    }

    /// Copies an example of the workspace into it.
    pub fn copy_example(&self, name: &str) -> anyhow::Result<()> {
        let example = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("e2e has a parent")?
            .join("examples")
            .join(name);
        run(Command::new("cp")
            .arg("-R")
            .arg(example.join("."))
            .arg(self.dir.path()))?;
        Ok(())
    }

    /// Commits everything.
    pub fn commit(&self, message: &str) -> anyhow::Result<String> {
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-q", "--allow-empty", "-m", message])?;
        self.head()
    }

    /// The commit that is checked out.
    pub fn head(&self) -> anyhow::Result<String> {
        Ok(self.git(&["rev-parse", "HEAD"])?.trim().to_owned())
    }

    /// Runs git to its end; its standard output, or an error with all it said.
    pub fn git(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = run(&mut self.command(arguments))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Pushes; a refused push is no error here.
    pub fn push(&self, arguments: &[&str]) -> anyhow::Result<Pushed> {
        let output = self.command(&[&["push"], arguments].concat()).output()?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Ok(Pushed {
            ok: output.status.success(),
            output: text,
        })
    }

    /// Starts a push and leaves it running; its output goes to the returned file.
    pub fn start_push(&self, arguments: &[&str]) -> anyhow::Result<(Child, PathBuf)> {
        let log = self.dir.path().join(".git/push-output");
        let file = fs::File::create(&log)?;
        let child = self
            .command(&[&["push"], arguments].concat())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        Ok((child, log))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .current_dir(self.dir.path())
            .args(arguments)
            .stdin(Stdio::null())
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_AUTHOR_NAME", "Tester")
            .env("GIT_AUTHOR_EMAIL", "tester@example.com")
            .env("GIT_COMMITTER_NAME", "Tester")
            .env("GIT_COMMITTER_EMAIL", "tester@example.com")
            // The token goes through the environment, where `ps` does not show it.
            .env("FAIRWAY_TEST_TOKEN", self.token.expose())
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "credential.helper")
            .env(
                "GIT_CONFIG_VALUE_0",
                "!f() { echo username=token; echo \"password=$FAIRWAY_TEST_TOKEN\"; }; f",
            );
        command
    }
}
