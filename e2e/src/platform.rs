//! A platform of its own for tests: the real `fairway` binary in a fresh data directory on free
//! ports, removed with all its containers when dropped.

use std::{
    fs::{self, OpenOptions},
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Once,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use fairway_api::{client::Client, names::AppName, secret::Secret};
use serde::Deserialize;
use tempfile::TempDir;

use crate::{Repository, leftovers};

/// How long a platform may take until it is ready, the making of stack images included.
const START_MAX: Duration = Duration::from_secs(600);
/// How long anything that a test awaits may take.
const EVENTUALLY_MAX: Duration = Duration::from_secs(60);
/// Pause between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where a running platform listens: `addresses.json` in its data.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Addresses {
    pub api: SocketAddr,
    pub ssh: SocketAddr,
    pub registry: SocketAddr,
    pub http: SocketAddr,
    pub cluster: SocketAddr,
}

/// A running platform.
#[derive(Debug)]
pub struct Platform {
    home: TempDir,
    process: Option<Child>,
    addresses: Addresses,
    /// Further arguments.
    more: Vec<String>,
}

impl Platform {
    /// Starts a platform on free ports.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(Ipv4Addr::LOCALHOST, &[])
    }

    /// The same for further machines to join, which reach this one at `address`.
    pub fn start_on_wire(address: Ipv4Addr, more: &[&str]) -> anyhow::Result<Self> {
        let underlay = address.to_string();
        let more = [&["--underlay", &underlay], more].concat();
        let more: Vec<String> = more.into_iter().map(str::to_owned).collect();
        Self::start_with(address, &more)
    }

    fn start_with(address: Ipv4Addr, more: &[String]) -> anyhow::Result<Self> {
        static COLLECT: Once = Once::new();
        COLLECT.call_once(leftovers::collect);
        let home = tempfile::Builder::new()
            .prefix(leftovers::PREFIX)
            .tempdir()?;
        leftovers::own(home.path())?;
        let free: SocketAddr = ([127, 0, 0, 1], 0).into();
        let wanted = Addresses {
            api: free,
            ssh: free,
            registry: free,
            http: free,
            cluster: (address, 0).into(),
        };
        let (process, addresses) = spawn(home.path(), wanted, more)?;
        Ok(Self {
            more: more.to_vec(),
            home,
            process: Some(process),
            addresses,
        })
    }

    /// Kills it with SIGKILL, as a power cut or the OOM killer would. Its pods go on.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            drop(process.wait());
        }
    }

    /// Asks it to stop, as `bin/down` does, and waits. Its pods go on.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        run(Command::new("kill").args(["-TERM", &process.id().to_string()]))?;
        process.wait()?;
        Ok(())
    }

    /// Starts it again on the same data and ports.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let (process, addresses) = spawn(self.home.path(), self.addresses, &self.more)?;
        self.process = Some(process);
        self.addresses = addresses;
        Ok(())
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The API as people reach it.
    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.addresses.api.port())
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The first account's token.
    pub fn token(&self) -> Secret {
        let text = fs::read_to_string(self.data().join("admin-token")).unwrap_or_default();
        Secret::new(text.trim())
    }

    /// The first account's password.
    pub fn password(&self) -> Secret {
        let text = fs::read_to_string(self.data().join("admin-password")).unwrap_or_default();
        Secret::new(text.trim())
    }

    /// A client with the first account's token.
    pub fn client(&self) -> Client {
        Client::new(
            self.url().parse().expect("the URL was just made"),
            Some(self.token()),
        )
    }

    /// The `app` command, logged in by its environment.
    pub fn app(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("app"));
        command
            .args(arguments)
            .env("FAIRWAY_URL", self.url())
            .env("FAIRWAY_TOKEN", self.token().expose())
            .env("HOME", self.home.path())
            .env_remove("FAIRWAY_APP")
            .stdin(Stdio::null());
        command
    }

    /// An operator's verb of the `fairway` command, logged in by its environment.
    pub fn operator(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("fairway"));
        command
            .args(arguments)
            .env("FAIRWAY_URL", self.url())
            .env("FAIRWAY_TOKEN", self.token().expose())
            .env("HOME", self.home.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs an operator's verb; its standard output, or an error with all it said.
    pub fn operator_ok(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = run(&mut self.operator(arguments))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs the `app` command; its standard output, or an error with all it said.
    pub fn app_ok(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = run(&mut self.app(arguments))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Makes an app and a repository whose remote `fairway` is that app, over HTTP.
    pub fn create_app(&self, name: &str) -> anyhow::Result<Repository> {
        self.app_ok(&["create", name, "--no-remote"])?;
        let repository = Repository::new(&self.token())?;
        repository.git(&[
            "remote",
            "add",
            "fairway",
            &format!("{}/{name}.git", self.url()),
        ])?;
        Ok(repository)
    }

    /// An app's page at its built-in hostname, through the router: status and body.
    pub fn get(&self, app: &str, path: &str) -> anyhow::Result<(u16, String)> {
        self.get_host(&format!("{app}.localhost"), path)
    }

    /// A page at any hostname, through the router: status and body.
    pub fn get_host(&self, host: &str, path: &str) -> anyhow::Result<(u16, String)> {
        let port = self.addresses.http.port();
        let output = run(Command::new("curl").args([
            "--silent",
            "--show-error",
            "--max-time",
            "20",
            "--noproxy",
            "*",
            "--write-out",
            "\n%{http_code}",
            "--resolve",
            &format!("{host}:{port}:127.0.0.1"),
            &format!("http://{host}:{port}{path}"),
        ]))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').context("curl printed no status")?;
        Ok((status.parse()?, body.to_owned()))
    }

    /// Ids of the containers that run pods of this app.
    pub fn containers(&self, app: &AppName) -> anyhow::Result<Vec<String>> {
        let output = run(Command::new("docker").args([
            "ps",
            "--quiet",
            "--no-trunc",
            "--filter",
            &format!("label=dev.fairway.instance={}", self.instance()),
            "--filter",
            &format!("label=dev.fairway.app={app}"),
        ]))?;
        let mut ids: Vec<String> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect();
        ids.sort();
        Ok(ids)
    }

    fn instance(&self) -> String {
        fs::read_to_string(self.data().join("instance"))
            .unwrap_or_default()
            .trim()
            .to_owned()
    }

    /// All that it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// The end of its log, for failures.
    pub fn log_tail(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        let instance = self.instance();
        if self.stop().is_err() {
            self.kill();
        }
        leftovers::clean_engine(&instance, Some(self.addresses.registry));
    }
}

fn spawn(home: &Path, wanted: Addresses, more: &[String]) -> anyhow::Result<(Child, Addresses)> {
    let data = home.join("data");
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(home.join("log"))?;
    // A file instead of a pipe: the test looks at it and needs no reader thread.
    let progress = home.join("progress");
    fs::write(&progress, "")?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("e2e has a parent")?;
    let mut process = Command::new(program("fairway"))
        .arg("up")
        .args(["--data".as_ref(), data.as_os_str()])
        .args(["--progress".as_ref(), progress.as_os_str()])
        .args(["--listen-api", &wanted.api.to_string()])
        .args(["--listen-ssh", &wanted.ssh.to_string()])
        .args(["--listen-registry", &wanted.registry.to_string()])
        .args(["--listen-http", &wanted.http.to_string()])
        .args(["--listen-cluster", &wanted.cluster.to_string()])
        .args(more)
        .args([
            "--buildpacks".as_ref(),
            workspace.join("buildpacks").as_os_str(),
        ])
        // Made once for all platforms and kept between runs.
        .args(["--stack-cache".as_ref(), stack_cache().as_os_str()])
        .env_remove("FAIRWAY_CONFIG")
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("start target/debug/fairway; build the workspace first")?;
    let started = Instant::now();
    loop {
        if fs::read_to_string(&progress)?
            .lines()
            .any(|line| line == "ready")
        {
            let addresses = fs::read_to_string(data.join("addresses.json"))?;
            return Ok((process, serde_json::from_str(&addresses)?));
        }
        let log = || fs::read_to_string(home.join("log")).unwrap_or_default();
        if let Some(status) = process.try_wait()? {
            bail!(
                "fairway ended with {status} before it was ready:\n{}",
                log()
            );
        }
        if started.elapsed() > START_MAX {
            drop(process.kill());
            bail!("fairway was not ready after {START_MAX:?}:\n{}", log());
        }
        pause();
    }
}

/// A program that this workspace built, beside the test's own executable.
pub(crate) fn program(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().unwrap_or_default();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.join(name)
}

fn stack_cache() -> PathBuf {
    if let Some(dir) = std::env::var_os("FAIRWAY_STACK_CACHE") {
        return dir.into();
    }
    program("fairway-stack-cache")
}

/// Runs a command to its end; an error holds everything it said.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<Output> {
    let output = command
        .output()
        .with_context(|| format!("run {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} ended with {}:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a pause between two looks at a condition"
)]
fn pause() {
    std::thread::sleep(LOOK_EVERY);
}

/// Looks again until the answer is `Some`, or fails saying what was awaited.
pub async fn eventually<T, F, Fut>(what: &str, mut look: F) -> anyhow::Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = anyhow::Result<Option<T>>>,
{
    let started = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if started.elapsed() > EVENTUALLY_MAX {
            bail!("waited {EVENTUALLY_MAX:?} in vain: {what}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
