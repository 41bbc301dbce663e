//! A registry and build tools that all tests of a process share, and their removal at its end.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};

use fairway_api::{
    apps::AppRef,
    build_orders::{BuildOrder, BuiltImage},
    builds::PushedCommit,
    client::Client,
    ids::{AppId, BuildId},
    images::{ImageRef, RegistryAccess},
    secret::Secret,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{
    Config,
    build::{BuildContext, BuildFailure, BuildLimits, BuildSettings, BuildTools, build},
    output::Output,
};

/// What builds in tests share.
pub(super) struct Harness {
    runtime: tokio::runtime::Runtime,
    data: TempDir,
    access: RegistryAccess,
    tools: Mutex<Vec<Arc<BuildTools>>>,
    usual: LazyLock<Arc<BuildTools>, Box<dyn FnOnce() -> Arc<BuildTools> + Send>>,
}

/// One app that is built, perhaps several times.
pub(super) struct TestApp {
    harness: Arc<Harness>,
    tools: Arc<BuildTools>,
    pub(super) id: AppId,
    pub(super) source: TempDir,
    pub(super) env: BTreeMap<String, String>,
    pub(super) cancel: CancellationToken,
    /// Of the next build.
    pub(super) output: Output,
    previous: Option<ImageRef>,
}

static SHARED: Mutex<Weak<Harness>> = Mutex::new(Weak::new());

pub(super) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

impl Harness {
    /// The harness of this process; made when no test uses one.
    pub(super) fn get() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(harness) = shared.upgrade() {
            return harness;
        }
        let harness = Arc::new(Self::start());
        *shared = Arc::downgrade(&harness);
        harness
    }

    fn start() -> Self {
        // Another test may have been first; which of them does not matter.
        drop(rustls::crypto::ring::default_provider().install_default());
        // RUST_LOG=debug shows how long each phase takes.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        drop(
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_test_writer()
                .try_init(),
        );
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let data = tempfile::tempdir_in(scratch()).unwrap();
        let config = fairway_registry::Config::new(
            data.path().join("registry"),
            "127.0.0.1:0".parse().unwrap(),
        );
        let registry = runtime
            .block_on(fairway_registry::Registry::bind(config))
            .unwrap();
        let host = registry.local_addr().to_string();
        runtime.spawn(registry.run(CancellationToken::new()));
        let access = RegistryAccess {
            host,
            username: String::new(),
            password: Secret::new(""),
            plain_http: true,
        };
        let dir = data.path().join("builder");
        let usual = Arc::new(new_tools(dir, |_| {}));
        let kept = vec![Arc::clone(&usual)];
        Self {
            runtime,
            data,
            access,
            tools: Mutex::new(kept),
            usual: LazyLock::new(Box::new(move || usual)),
        }
    }

    /// Another registry, which lets everybody in; gives its host.
    pub(super) fn another_registry(&self) -> String {
        let dir = self
            .data
            .path()
            .join(format!("registry-{}", AppId::generate()));
        let config = fairway_registry::Config::new(dir, "127.0.0.1:0".parse().unwrap());
        let registry = self
            .runtime
            .block_on(fairway_registry::Registry::bind(config))
            .unwrap();
        let host = registry.local_addr().to_string();
        self.runtime.spawn(registry.run(CancellationToken::new()));
        host
    }

    /// An app from `examples/`, or an empty one.
    pub(super) fn app(self: &Arc<Self>, example: Option<&str>) -> TestApp {
        let tools = Arc::clone(&self.usual);
        self.app_with(tools, example)
    }

    /// An app that is built with limits of its own.
    pub(super) fn app_limited(self: &Arc<Self>, limit: impl FnOnce(&mut BuildLimits)) -> TestApp {
        let dir = self
            .data
            .path()
            .join(format!("builder-{}", AppId::generate()));
        let tools = Arc::new(new_tools(dir, |settings| limit(&mut settings.limits)));
        self.tools.lock().unwrap().push(Arc::clone(&tools));
        self.app_with(tools, None)
    }

    fn app_with(self: &Arc<Self>, tools: Arc<BuildTools>, example: Option<&str>) -> TestApp {
        let source = tempfile::tempdir_in(self.data.path()).unwrap();
        if let Some(example) = example {
            copy(&workspace().join("examples").join(example), source.path());
        }
        TestApp {
            harness: Arc::clone(self),
            tools,
            id: AppId::generate(),
            source,
            env: BTreeMap::new(),
            cancel: CancellationToken::new(),
            output: Output::kept(&[]),
            previous: None,
        }
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        for tools in self.tools.lock().unwrap().drain(..) {
            if let Err(error) = self.runtime.block_on(tools.engine.remove_all()) {
                panic!("test containers stay behind: {error:#}");
            }
        }
    }
}

impl TestApp {
    /// Writes a file of the source.
    pub(super) fn write(&self, path: &str, content: &str) {
        let path = self.source.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Builds; gives the result and the output.
    pub(super) fn build(&mut self) -> (Result<BuiltImage, BuildFailure>, String) {
        let output = std::mem::replace(&mut self.output, Output::kept(&[]));
        // A build may use up its source.
        let source = tempfile::tempdir_in(self.harness.data.path()).unwrap();
        copy(self.source.path(), source.path());
        let context = BuildContext {
            order: self.order(),
            source: source.path().to_owned(),
            output: output.clone(),
            cancel: self.cancel.clone(),
        };
        let result = self.harness.runtime.block_on(build(&self.tools, context));
        if let Ok(built) = &result {
            self.previous = Some(built.image.clone());
        }
        (result, output.text())
    }

    /// Begins a build and drops it in the middle, as when the builder dies: when its output has
    /// this text.
    pub(super) fn abandon_when(&mut self, text: &str) {
        let output = std::mem::replace(&mut self.output, Output::kept(&[]));
        let source = tempfile::tempdir_in(self.harness.data.path()).unwrap();
        copy(self.source.path(), source.path());
        let context = BuildContext {
            order: self.order(),
            source: source.path().to_owned(),
            output: output.clone(),
            cancel: self.cancel.clone(),
        };
        let reached = async {
            while !output.text().contains(text) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        self.harness.runtime.block_on(async {
            tokio::select! {
                _ = build(&self.tools, context) => panic!("it ended:\n{}", output.text()),
                () = reached => {}
            }
        });
    }

    /// New build tools over the same data, which know nothing of what went before.
    pub(super) fn restart_builder(&mut self) {
        let (dir, settings) = (self.tools.data_dir.clone(), self.tools.settings.clone());
        let tools = BuildTools::new(&config(dir, self.instance(), settings)).unwrap();
        let tools = Arc::new(tools);
        self.harness.tools.lock().unwrap().push(Arc::clone(&tools));
        self.tools = tools;
    }

    /// The instance that its containers are labelled with.
    pub(super) fn instance(&self) -> String {
        self.tools.engine.labels()["dev.fairway.instance"].clone()
    }

    /// Builds what has to succeed.
    pub(super) fn built(&mut self) -> (BuiltImage, String) {
        let (result, output) = self.build();
        match result {
            Ok(built) => (built, output),
            Err(failure) => panic!("{failure}\n{output}"),
        }
    }

    /// Builds what has to fail; gives reason and output.
    pub(super) fn refused(&mut self) -> (String, String) {
        let (result, output) = self.build();
        match result {
            Ok(_) => panic!("it was built:\n{output}"),
            Err(failure) => (failure.to_string(), output),
        }
    }

    /// Runs a command line in a container of the image; gives what it printed.
    pub(super) fn run(&self, image: &ImageRef, arguments: &[&str]) -> String {
        let mut command = std::process::Command::new("docker");
        command
            .args(["run", "--rm", "--network=none", &image.to_string()])
            .args(arguments);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}{errors}");
        text
    }

    /// Digests of the layers of an image.
    pub(super) fn layers(&self, image: &ImageRef) -> Vec<String> {
        let registry = crate::publish::Registry::new(&self.harness.access);
        let (manifest, _) = self
            .harness
            .runtime
            .block_on(registry.image(image))
            .unwrap();
        manifest
            .layers()
            .iter()
            .map(|layer| layer.digest().to_string())
            .collect()
    }

    fn order(&self) -> BuildOrder {
        BuildOrder {
            id: BuildId::generate(),
            app: AppRef {
                id: self.id,
                name: "shop".parse().unwrap(),
            },
            commit: PushedCommit {
                id: "0".repeat(40).parse().unwrap(),
                branch: "main".parse().unwrap(),
                summary: "test".into(),
                author: "test".into(),
            },
            registry: self.harness.access.clone(),
            repository: format!("apps/{}", self.id),
            previous_image: self.previous.clone(),
            env: (self.env.iter())
                .map(|(name, value)| (name.parse().unwrap(), Secret::new(value.as_str())))
                .collect(),
            redact: Vec::new(),
        }
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        // What the test pulled or built in the engine.
        let name = format!("{}/apps/{}", self.harness.access.host, self.id);
        let filter = format!("reference={name}");
        let list = ["images", "--quiet", "--no-trunc", "--filter", &filter];
        let Ok(listed) = std::process::Command::new("docker").args(list).output() else {
            return;
        };
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let ids: Vec<&str> = listed.split_whitespace().collect();
        if !ids.is_empty() {
            let removal = ["rmi", "--force"].iter().chain(&ids);
            drop(std::process::Command::new("docker").args(removal).output());
        }
    }
}

fn new_tools(dir: PathBuf, change: impl FnOnce(&mut BuildSettings)) -> BuildTools {
    fs::create_dir_all(&dir).unwrap();
    let mut settings = BuildSettings::new(&dir, workspace().join("buildpacks"));
    if std::env::var_os("FAIRWAY_STACK_CACHE").is_none() {
        settings.stack.cache_dir = workspace().join(".fairway/stack-cache");
    }
    settings.limits.memory_bytes = settings.limits.memory_bytes.min(2 << 30);
    change(&mut settings);
    let instance = format!("test-{}", &AppId::generate().to_string()[24..]);
    BuildTools::new(&config(dir, instance, settings)).unwrap()
}

fn config(data_dir: PathBuf, instance: String, build: BuildSettings) -> Config {
    Config {
        name: "test".parse().unwrap(),
        instance,
        data_dir,
        client: Client::new("http://127.0.0.1:9".parse().unwrap(), None),
        listen_ssh: "127.0.0.1:0".parse().unwrap(),
        hook_program: PathBuf::new(),
        hook_args: Vec::new(),
        builds_at_once: 1,
        build,
    }
}

/// On the same disk as the rest of a build's folders would be.
fn scratch() -> PathBuf {
    let dir = workspace().join("target/test-builds");
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(to)
        .status();
    assert!(status.unwrap().success());
}
