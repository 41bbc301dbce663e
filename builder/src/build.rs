//! From a source tree to a pushed image.
//!
//! ```text
//! source -> strategy -> dockerfile (the engine builds and pushes)   -> BuiltImage
//!                    -> lifecycle  (buildpacks; we pack and push)
//! ```
//!
//! What both ways share is here: reading the files that say what the app is, and the processes of
//! the result. It must not know where the source came from, or what becomes of the image.

mod failure;
mod processes;
mod settings;
mod sidecars;
mod under_way;

use std::{fs, io, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use fairway_api::{
    build_orders::{BuildOrder, BuiltImage},
    ids::AppId,
    images::RegistryAccess,
    names::ProcessType,
    phases::Phase,
    sidecars::BuiltSidecars,
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::failure::BuildFailure;
pub use self::settings::BuildSettings;
use self::under_way::UnderWay;
pub use crate::containers::sandbox::BuildLimits;
use crate::{
    Config,
    app_json::{self, APP_JSON_BYTES_MAX, AppJson},
    containers::{Engine, cgroup::Cgroups, pool::Pool, sandbox::SandboxSpec, slot},
    dockerfile::{DockerfileBuild, step_images::StepImages},
    lifecycle::{Lifecycle, cache::Cache, confined::Folder},
    output::Output,
    procfile::{self, PROCFILE_BYTES_MAX, Procfile},
    publish::Registry,
    stack::{self, Stack, toolchain},
    strategy::{self, Strategy},
};

/// What builds share: the connection to the engine, the stack, the containers that wait.
pub(crate) struct BuildTools {
    engine: Engine,
    settings: BuildSettings,
    pool: Arc<Pool>,
    /// The stack and the registry that it was put into; made by the first who needs it.
    ready: tokio::sync::Mutex<Option<Arc<Ready>>>,
    data_dir: PathBuf,
    under_way: UnderWay,
    step_images: StepImages,
    /// Read by each Dockerfile build that runs, written by whoever removes images.
    dockerfile_builds: tokio::sync::RwLock<()>,
}

/// What the first build finds out, and the others use.
struct Ready {
    registry: Arc<Registry>,
    stack: Stack,
    cgroups: Option<Cgroups>,
}

/// One build to do.
pub(crate) struct BuildContext {
    pub(crate) order: BuildOrder,
    /// The exported tree, for this build alone; the worker deletes it afterwards.
    pub(crate) source: PathBuf,
    pub(crate) output: Output,
    /// Set when the user cancelled, the lease was lost or the builder stops.
    pub(crate) cancel: CancellationToken,
}

/// What the source tree says about the app, apart from its code.
struct AppFiles {
    strategy: Strategy,
    procfile: Option<Procfile>,
    app_json: AppJson,
}

impl BuildTools {
    /// Prepares what every build needs; touches neither network nor engine.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let engine = Engine::new(&config.instance)?;
        Ok(Self {
            pool: Arc::new(Pool::new(engine.clone(), config.data_dir.join("slots"))),
            engine,
            settings: config.build.clone(),
            ready: tokio::sync::Mutex::default(),
            step_images: StepImages::open(&config.data_dir),
            data_dir: config.data_dir.clone(),
            under_way: UnderWay::default(),
            dockerfile_builds: tokio::sync::RwLock::default(),
        })
    }

    /// Keeps a build container ready until `shutdown`.
    pub(crate) async fn tend(&self, shutdown: CancellationToken) {
        self.pool.tend(shutdown).await;
        if let Err(error) = self.engine.remove_all().await {
            tracing::warn!("build containers stay behind: {error:#}");
        }
    }

    /// Does ahead of the first build what it would otherwise wait for.
    pub(crate) async fn prepare(
        &self,
        access: &RegistryAccess,
        progress: stack::Progress<'_>,
    ) -> anyhow::Result<()> {
        self.ready(access, progress).await.map(drop)
    }

    /// Makes sure that the stack is in files, registry and engine. What takes long is told.
    async fn ready(
        &self,
        access: &RegistryAccess,
        progress: stack::Progress<'_>,
    ) -> anyhow::Result<Arc<Ready>> {
        let mut ready = self.ready.lock().await;
        if let Some(ready) = ready.as_ref()
            && ready.registry.access() == access
            && ready.stack.is_in(&self.engine).await?
        {
            return Ok(Arc::clone(ready));
        }
        if ready.is_none() {
            self.engine.check().await?;
            self.recover().await?;
        }
        let registry = Arc::new(Registry::new(access));
        let stack = stack::ensure(&self.settings.stack, &self.engine, &registry, progress).await?;
        let spec = self.sandbox_spec(&stack).await?;
        self.pool.use_spec(spec).await;
        let cgroups = self.engine.cgroups().await?;
        Ok(Arc::clone(ready.insert(Arc::new(Ready {
            registry,
            stack,
            cgroups,
        }))))
    }

    /// Cleans up after an earlier run that did not stop in order, before the first build: its
    /// containers, then their folders, with what they have of the apps' caches.
    async fn recover(&self) -> anyhow::Result<()> {
        self.engine.remove_leftovers().await?;
        if let Some(cgroups) = self.engine.cgroups().await? {
            cgroups.remove_leftovers(self.engine.instance());
        }
        for slot in slot::leftovers(self.pool.dir()).context("look for earlier builds")? {
            if let Some(app) = slot.app()
                && let Err(error) = Cache::recover(self.cache_dir(app), &slot.layers())
            {
                tracing::warn!(%app, "the build cache of an app is lost: {error}");
            }
            slot.remove()
                .context("remove the folders of an earlier build")?;
        }
        Ok(())
    }

    pub(crate) fn cache_dir(&self, app: AppId) -> PathBuf {
        self.caches_dir().join(app.to_string())
    }

    pub(crate) fn caches_dir(&self) -> PathBuf {
        self.data_dir.join("cache")
    }

    /// The apps that have a cache. Blocks.
    pub(crate) fn caches(&self) -> io::Result<Vec<AppId>> {
        let entries = match fs::read_dir(self.caches_dir()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut apps = Vec::new();
        for entry in entries {
            apps.extend(
                entry?
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse::<AppId>().ok()),
            );
        }
        Ok(apps)
    }

    /// The container engine.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The builds that run.
    pub(crate) fn under_way(&self) -> &UnderWay {
        &self.under_way
    }

    /// What the engine keeps of Dockerfile builds without a name.
    pub(crate) fn step_images(&self) -> &StepImages {
        &self.step_images
    }

    /// Read by each Dockerfile build that runs.
    pub(crate) fn dockerfile_builds(&self) -> &tokio::sync::RwLock<()> {
        &self.dockerfile_builds
    }

    /// The registry that builds push to, as the engine knows it; `None` before the first build.
    pub(crate) async fn registry_host(&self) -> Option<String> {
        let ready = self.ready.lock().await;
        Some(ready.as_ref()?.registry.access().host.clone())
    }

    async fn sandbox_spec(&self, stack: &Stack) -> anyhow::Result<SandboxSpec> {
        let buildpacks = self
            .settings
            .buildpacks_dir
            .canonicalize()
            .with_context(|| {
                format!(
                    "find the buildpacks in {}",
                    self.settings.buildpacks_dir.display()
                )
            })?;
        let mut binds = vec![format!("{}:/cnb/buildpacks:ro", buildpacks.display())];
        let certificates = self.data_dir.join("ca-certificates.crt");
        let trusted = self.settings.toolchain.write_certificates(&certificates);
        if trusted.context("collect the CA certificates for builds")? {
            let certificates = certificates.canonicalize()?;
            binds.push(format!(
                "{}:{}:ro",
                certificates.display(),
                toolchain::CA_PATH
            ));
        }
        let network = match &self.settings.network {
            Some(network) => network.clone(),
            None => self.engine.ensure_build_network().await?,
        };
        Ok(SandboxSpec {
            image: stack.build.image_id().to_string(),
            network,
            binds,
            limits: self.settings.limits.clone(),
        })
    }
}

/// Builds.
pub(crate) async fn build(
    tools: &BuildTools,
    context: BuildContext,
) -> Result<BuiltImage, BuildFailure> {
    let since = tokio::time::Instant::now();
    let _under_way = tools.under_way.begin(context.order.app.id);
    let files = app_files(&context)?;
    let output = &context.output;
    let progress = |line: &str| output.detail(line);
    let ready = tokio::select! {
        ready = tools.ready(&context.order.registry, &progress) => ready?,
        () = context.cancel.cancelled() => return Err(BuildFailure::cancelled()),
    };
    Phase::Prepare.log(context.order.id, since.elapsed());
    let mut built = match files.strategy {
        Strategy::Dockerfile => by_dockerfile(tools, &ready, &context, &files).await?,
        Strategy::Buildpacks => by_buildpacks(tools, &ready, &context).await?,
    };
    tell_process_types(output, &built, files.procfile.as_ref());
    for process_type in processes::add_app_json(&mut built.processes, &files.app_json) {
        output.detail(format!(
            "app.json speaks of {process_type}, which the app does not have"
        ));
    }
    if let Some(name) = files.app_json.cron.keys().find(|name| {
        let names = &built.processes;
        names.contains_key(name.as_str())
    }) {
        return Err(BuildFailure::new(format!(
            "app.json cron: the job {name} is called like a process type; give it another name, or \
             its pods could not be told apart in the log"
        )));
    }
    built.formation = files.app_json.formation;
    built.cron = files.app_json.cron;
    let asked = files.app_json.sidecars;
    built.sidecars =
        sidecars::resolve(asked, &built, &tools.engine, &ready.registry, &context).await?;
    built.strategy = files.app_json.strategy.map(Box::new);
    built
        .formation
        .retain(|process_type, _| built.processes.contains_key(process_type));
    Ok(built)
}

/// Which types the Procfile declares, and which the app has without having asked.
fn tell_process_types(output: &Output, built: &BuiltImage, procfile: Option<&Procfile>) {
    let (declared, own): (Vec<_>, Vec<_>) = built
        .processes
        .keys()
        .map(ProcessType::as_str)
        .partition(|name| procfile.is_some_and(|procfile| procfile.contains_key(*name)));
    output.header("Discovering process types");
    if !declared.is_empty() {
        output.detail(format!(
            "Procfile declares types -> {}",
            declared.join(", ")
        ));
    }
    if !own.is_empty() {
        let with = &built.built_with;
        output.detail(format!("Default types for {with} -> {}", own.join(", ")));
    }
}

async fn by_buildpacks(
    tools: &BuildTools,
    ready: &Ready,
    context: &BuildContext,
) -> Result<BuiltImage, BuildFailure> {
    let lifecycle = Lifecycle {
        pool: &tools.pool,
        registry: &ready.registry,
        stack: &ready.stack,
        limits: &tools.settings.limits,
        toolchain: &tools.settings.toolchain,
        buildpacks_dir: &tools.settings.buildpacks_dir,
        cache_dir: tools.cache_dir(context.order.app.id),
        cache_bytes_max: tools.settings.cache_bytes_max,
        order: &context.order,
        source: &context.source,
        output: &context.output,
        cancel: &context.cancel,
    };
    let image = lifecycle.run().await?;
    let processes = image.processes.into_iter().map(|process| {
        let process_type = process.process_type.parse().map_err(|error| {
            BuildFailure::new(format!(
                "a buildpack declares a process that cannot run: {error}"
            ))
        })?;
        Ok((
            process_type,
            processes::by_launcher(process.command_line, process.launcher),
        ))
    });
    Ok(BuiltImage {
        image: image.image,
        size_bytes: image.size_bytes,
        built_with: image.built_with,
        buildpacks: image.buildpacks,
        processes: processes.collect::<Result<_, BuildFailure>>()?,
        exposed_port: None,
        formation: std::collections::BTreeMap::new(),
        cron: std::collections::BTreeMap::new(),
        sidecars: BuiltSidecars::default(),
        strategy: None,
    })
}

fn app_files(context: &BuildContext) -> Result<AppFiles, BuildFailure> {
    let folder = Folder::open(&context.source).context("open the source tree")?;
    let entries = folder.entries().context("read the source tree")?;
    let names = entries.iter().filter_map(|entry| entry.name.to_str());
    let refused = |error: &dyn std::error::Error| BuildFailure::new(error.to_string());
    let strategy = strategy::choose(names).map_err(|error| refused(&error))?;
    let read = |name: &str, bytes_max| {
        let unreadable = |error| BuildFailure::new(format!("cannot read {name}: {error}"));
        folder.read(name, bytes_max).map_err(unreadable)
    };
    let procfile = match read("Procfile", PROCFILE_BYTES_MAX)? {
        Some(bytes) => Some(procfile::parse(&bytes).map_err(|error| refused(&error))?),
        None => None,
    };
    let app_json = match read("app.json", APP_JSON_BYTES_MAX)? {
        Some(bytes) => app_json::parse(&bytes).map_err(|error| refused(&error))?,
        None => AppJson::default(),
    };
    Ok(AppFiles {
        strategy,
        procfile,
        app_json,
    })
}

async fn by_dockerfile(
    tools: &BuildTools,
    ready: &Ready,
    context: &BuildContext,
    files: &AppFiles,
) -> Result<BuiltImage, BuildFailure> {
    let _not_while_images_go = tools.dockerfile_builds.read().await;
    let built = DockerfileBuild {
        id: context.order.id,
        engine: &tools.engine,
        app: context.order.app.id,
        step_images: &tools.step_images,
        registry: &ready.registry,
        repository: &context.order.repository,
        stack: &ready.stack,
        cgroups: ready.cgroups,
        source: &context.source,
        limits: &tools.settings.limits,
        toolchain: &tools.settings.toolchain,
        output: &context.output,
        cancel: &context.cancel,
    };
    let image = built.run().await?;
    let none = Procfile::new();
    let procfile = files.procfile.as_ref().unwrap_or(&none);
    let processes = processes::of_dockerfile(image.command_line, procfile);
    if processes.is_empty() {
        return Err(BuildFailure::new(
            "the image has no command and there is no Procfile, so there is nothing to run; add a \
             CMD to the Dockerfile, or a Procfile with a line such as \"web: ./server\"",
        ));
    }
    Ok(BuiltImage {
        image: image.image,
        size_bytes: image.size_bytes,
        built_with: "Dockerfile".into(),
        buildpacks: Vec::new(),
        processes,
        exposed_port: image.exposed_port,
        formation: std::collections::BTreeMap::new(),
        cron: std::collections::BTreeMap::new(),
        sidecars: BuiltSidecars::default(),
        strategy: None,
    })
}

#[cfg(test)]
mod tests;
