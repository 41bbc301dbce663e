//! A builder under test with a controller beside it, and real git clients.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use fairway_api::{
    client::Client,
    ids::{AppId, BuildId},
    secret::Secret,
};
use fairway_builder::{BuildSettings, Builder, Config};
use tokio::{
    io::AsyncWriteExt,
    net::TcpListener,
    process::{Child, Command},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::controller::{Controller, TOKEN, WAIT};

/// Everything that one test needs; ends with its drop.
pub(crate) struct Platform {
    pub(crate) controller: Controller,
    pub(crate) http: SocketAddr,
    pub(crate) ssh: SocketAddr,
    folder: tempfile::TempDir,
    stop: CancellationToken,
    running: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Platform {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("fairway-receive-")
            .tempdir()
            .unwrap();
        let controller = Controller::start().await;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (stop, running) = (CancellationToken::new(), None);
        let mut platform = Self {
            controller,
            http: nowhere,
            ssh: nowhere,
            folder,
            stop,
            running,
        };
        platform.start_builder().await;
        platform
    }

    async fn start_builder(&mut self) {
        let data = self.data();
        let base = format!("http://{}", self.controller.addr).parse().unwrap();
        let builder = Builder::bind(Config {
            name: "builder-1".parse().unwrap(),
            // Of its own, since the builder clears the engine of what bears its instance.
            instance: format!("receive-{}", std::process::id()),
            data_dir: data.clone(),
            client: Client::new(base, Some(Secret::new("role"))),
            listen_ssh: SocketAddr::from(([127, 0, 0, 1], 0)),
            hook_program: hook_program(),
            hook_args: Vec::new(),
            builds_at_once: 1,
            // No test here builds.
            build: BuildSettings::new(&data, PathBuf::from("/nonexistent")),
        })
        .await
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.http = listener.local_addr().unwrap();
        self.ssh = builder.ssh_addr().unwrap();
        self.stop = CancellationToken::new();
        let (router, stop) = (builder.http_router(), self.stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                served = axum::serve(listener, router) => served.unwrap(),
                () = stop.cancelled() => {}
            }
        });
        self.running = Some(tokio::spawn(builder.run(self.stop.clone())));
    }

    /// Stops the builder in good order.
    pub(crate) async fn stop_builder(&mut self) {
        self.stop.cancel();
        let running = self.running.take().unwrap();
        tokio::time::timeout(WAIT, running)
            .await
            .expect("the builder stops")
            .unwrap()
            .unwrap();
    }

    /// Starts the builder over the same data, and stops it first if it runs.
    pub(crate) async fn restart(&mut self) {
        if self.running.is_some() {
            self.stop_builder().await;
        }
        self.start_builder().await;
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A folder for the test's own files.
    pub(crate) fn scratch(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.data()
            .join(format!("repositories/{}.git", AppId::from_u128(1)))
    }

    /// Where a branch of the server's repository stands.
    pub(crate) async fn server_ref(&self, name: &str) -> Option<String> {
        let repository = self.repository();
        if !repository.exists() {
            return None;
        }
        let mut git = self.git(&repository);
        git.args(["rev-parse", "--verify", "--quiet", name]);
        let output = git.output().await.unwrap();
        output
            .status
            .success()
            .then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }

    /// Waits until a branch stands where it should.
    pub(crate) async fn until_ref(&self, name: &str, commit: &str) {
        let wait = async {
            while self.server_ref(name).await.as_deref() != Some(commit) {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(WAIT, wait)
            .await
            .unwrap_or_else(|_| panic!("{name} does not move"));
    }

    /// Objects of pushes that were refused, sources of builds and notes of pushes that are over.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let quarantine = list(&self.repository().join("objects"))
            .into_iter()
            .filter(|path| {
                path.file_name()
                    .unwrap()
                    .to_string_lossy()
                    .starts_with("tmp_")
            });
        quarantine
            .chain(list(&self.data().join("sources")))
            .chain(list(&self.data().join("pushes")))
            .collect()
    }

    /// Waits until git has begun to take a pack.
    pub(crate) async fn until_quarantine(&self) {
        let wait = async {
            while self.leftovers().is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(WAIT, wait)
            .await
            .expect("git takes the pack");
    }

    /// Waits until a push is so far that it outlives the builder.
    pub(crate) async fn until_noted(&self, build: BuildId) {
        let note = self.data().join(format!("pushes/{build}/push.json"));
        let wait = async {
            while !note.exists() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(WAIT, wait).await.expect("a note");
    }

    pub(crate) async fn until_no_leftovers(&self) {
        let wait = async {
            while !self.leftovers().is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(WAIT, wait).await;
        waited.unwrap_or_else(|_| panic!("left behind: {:?}", self.leftovers()));
    }

    pub(crate) fn http_url(&self, app: &str) -> String {
        format!("http://x:{TOKEN}@{}/{app}.git", self.http)
    }

    pub(crate) fn ssh_url(&self, app: &str) -> String {
        format!("ssh://git@{}/{app}.git", self.ssh)
    }

    /// Git as a user runs it, in a folder, with nothing of this machine's settings.
    pub(crate) fn git(&self, folder: &Path) -> Command {
        let mut git = Command::new("git");
        git.current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.folder.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_SSH_COMMAND", self.ssh_command())
            .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"])
            .args([
                "-c",
                "protocol.file.allow=always",
                "-c",
                "advice.detachedHead=false",
            ])
            .kill_on_drop(true)
            // So that it can be killed with all that it started.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        git
    }

    pub(crate) fn ssh_command(&self) -> String {
        let key = self.key();
        format!(
            "ssh -F /dev/null -i {} -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel=ERROR \
             -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
            key.display()
        )
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("id")
    }

    /// Makes a key for the SSH client, without telling the controller; gives its fingerprint.
    pub(crate) async fn make_key(&self, kind: &str) -> String {
        let mut keygen = Command::new("ssh-keygen");
        keygen
            .args(["-q", "-t", kind, "-N", "", "-f"])
            .arg(self.key());
        assert!(keygen.status().await.unwrap().success());
        let list = Command::new("ssh-keygen")
            .arg("-lf")
            .arg(self.key())
            .output()
            .await
            .unwrap();
        String::from_utf8(list.stdout)
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .to_owned()
    }

    /// Makes a key and tells the controller.
    pub(crate) async fn log_in_by_key(&self) {
        let fingerprint = self.make_key("ed25519").await;
        self.controller.know_key(&fingerprint);
    }

    /// A clone-to-be with one commit on `main`.
    pub(crate) async fn work_tree(&self, name: &str) -> WorkTree<'_> {
        let folder = self.folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let tree = WorkTree {
            platform: self,
            folder,
        };
        tree.git(&["init", "-q", "-b", "main"]).await;
        tree.commit("app.py", "print('hello')").await;
        tree
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A user's repository.
pub(crate) struct WorkTree<'a> {
    platform: &'a Platform,
    pub(crate) folder: PathBuf,
}

impl<'a> WorkTree<'a> {
    /// A repository that is there already.
    pub(crate) fn at(platform: &'a Platform, folder: PathBuf) -> Self {
        Self { platform, folder }
    }

    /// Runs git, which has to succeed; gives what it said on standard output.
    pub(crate) async fn git(&self, args: &[&str]) -> String {
        let said = self.try_git(args).await;
        assert!(said.ok, "git {args:?}: {}", said.text);
        said.text
    }

    pub(crate) async fn try_git(&self, args: &[&str]) -> Told {
        let output = self.platform.git(&self.folder).args(args).output();
        Told::from(
            tokio::time::timeout(WAIT, output)
                .await
                .expect("git ends")
                .unwrap(),
        )
    }

    /// Git in the background, to be waited for or killed.
    pub(crate) fn start_git(&self, args: &[&str]) -> Child {
        self.platform.git(&self.folder).args(args).spawn().unwrap()
    }

    /// Commits a file; gives the commit's id.
    pub(crate) async fn commit(&self, file: &str, text: &str) -> String {
        let path = self.folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self.git(&["add", "-A"]).await;
        self.git(&[
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            &format!("change {file}"),
        ])
        .await;
        self.head().await
    }

    /// Many commits at once, each with a file of its own.
    pub(crate) async fn commits(&self, name: &str, count: usize) -> String {
        let mut import = self.platform.git(&self.folder);
        import.args(["fast-import", "--quiet", "--force"]);
        let mut import = import.stdin(Stdio::piped()).spawn().unwrap();
        let branch = self.git(&["branch", "--show-current"]).await;
        let mut from = format!("from {}\n", self.head().await);
        let mut stream = String::new();
        for number in 0..count {
            stream.push_str(&format!(
                "commit refs/heads/{}\ncommitter Ann <ann@example.com> {} +0000\ndata 1\n.\n{}\
                 M 644 inline {name}{number}\ndata {}\n{number}\n",
                branch.trim(),
                1_700_000_000 + number,
                std::mem::take(&mut from),
                number.to_string().len(),
            ));
        }
        let mut stdin = import.stdin.take().unwrap();
        stdin.write_all(stream.as_bytes()).await.unwrap();
        drop(stdin);
        assert!(import.wait().await.unwrap().success());
        self.git(&["reset", "-q", "--hard"]).await;
        self.head().await
    }

    pub(crate) async fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"]).await.trim().to_owned()
    }
}

/// Ends a git client and its helpers, as Ctrl-C at its terminal would.
pub(crate) async fn kill(mut git: Child) {
    let id = i32::try_from(git.id().expect("it still runs")).unwrap();
    let group = rustix::process::Pid::from_raw(id).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    git.wait().await.unwrap();
}

/// What a program said, on both streams, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) ok: bool,
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        let text = [output.stdout, output.stderr].concat();
        Self {
            ok: output.status.success(),
            code: output.status.code(),
            text: String::from_utf8_lossy(&text).into_owned(),
        }
    }
}

impl Told {
    /// Asserts that all of these were said, in this order.
    #[track_caller]
    pub(crate) fn says(&self, wanted: &[&str]) -> &Self {
        let mut rest = self.text.as_str();
        for wanted in wanted {
            let Some(at) = rest.find(wanted) else {
                panic!("{wanted:?} is not in:\n{}", self.text)
            };
            rest = &rest[at + wanted.len()..];
        }
        self
    }
}

pub(crate) fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The example beside the test program: cargo builds it for tests.
pub(crate) fn hook_program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let hook = test
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples/hook");
    assert!(
        hook.exists(),
        "{} is missing: cargo test builds it",
        hook.display()
    );
    hook
}
