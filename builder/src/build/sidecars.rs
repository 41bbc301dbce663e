//! From the sidecars that app.json asks for to those of a release.
//!
//! ```text
//! asked ──judge (pure): types, ports──> command lines ──copy images──> BuiltSidecars
//! ```
//!
//! An image from elsewhere is pulled and copied into the repository of the app's images, and the
//! release names the copy by its digest. So a release stays what it was when a tag moves or its
//! registry goes away, and machines need no way to other registries.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use bollard::{
    errors::Error as DockerError,
    query_parameters::{CreateImageOptionsBuilder, RemoveImageOptions},
};
use fairway_api::{
    build_orders::BuiltImage,
    images::ImageRef,
    names::ProcessType,
    pods::PORT_DEFAULT,
    sidecars::{BuiltSidecar, BuiltSidecars},
};
use futures_util::TryStreamExt;
use oci_distribution::Reference;

use super::{BuildContext, BuildFailure};
use crate::{
    app_json::sidecars::{Command, Sidecar, Sidecars},
    containers::Engine,
    dockerfile,
    lifecycle::launch::LAUNCHER,
    publish::Registry,
};

/// How long pulling and copying one image may take, in seconds.
const COPY_SECS_MAX: u64 = 15 * 60;
/// The tag that a copy has while it is sent. Releases go by digest.
const TAG: &str = "sidecar";
/// The shell that a command line is run by.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];
/// What an image is called that names no repository of its own.
const TAG_DEFAULT: &str = "latest";

/// Makes the sidecars of a release of `built`.
pub(super) async fn resolve(
    asked: Sidecars,
    built: &BuiltImage,
    engine: &Engine,
    registry: &Registry,
    context: &BuildContext,
) -> Result<BuiltSidecars, BuildFailure> {
    for (index, sidecar) in asked.containers.iter().enumerate() {
        judge(index, sidecar, built)?;
    }
    let mut copies = BTreeMap::new();
    for name in asked.containers.iter().filter_map(|it| it.image.as_ref()) {
        if !copies.contains_key(name) {
            let copy = copied(name, engine, registry, context).await?;
            copies.insert(name.clone(), copy);
        }
    }
    let containers = asked.containers.into_iter();
    Ok(BuiltSidecars {
        containers: containers.map(|it| made(it, built, &copies)).collect(),
        main_after: asked.main_after,
        folders: asked.folders,
    })
}

/// What can be said only when the app's processes and port are known.
fn judge(index: usize, sidecar: &Sidecar, built: &BuiltImage) -> Result<(), BuildFailure> {
    let types = &built.processes;
    if let Some(unknown) = sidecar.types.iter().find(|it| !types.contains_key(*it)) {
        let known: Vec<&str> = types.keys().map(ProcessType::as_str).collect();
        return Err(BuildFailure::new(format!(
            "app.json sidecars[{index}].types: the app has no process type {unknown}; it has {}",
            known.join(", ")
        )));
    }
    let main = built.exposed_port.unwrap_or(PORT_DEFAULT);
    let beside_web = sidecar.types.iter().any(ProcessType::is_web);
    if beside_web && sidecar.port == Some(main) {
        return Err(BuildFailure::new(format!(
            "app.json sidecars[{index}].port: web itself listens on {main} (PORT), and the \
             containers of a pod share their ports; take another"
        )));
    }
    Ok(())
}

/// An image from elsewhere, in the registry of the app's images.
struct Copied {
    image: ImageRef,
    /// What it runs by itself, to show.
    command_line: Option<String>,
}

async fn copied(
    name: &str,
    engine: &Engine,
    registry: &Registry,
    context: &BuildContext,
) -> Result<Copied, BuildFailure> {
    context.output.header(format!("Pinning {name}"));
    let limit = Duration::from_secs(COPY_SECS_MAX);
    let copied = tokio::select! {
        copied = copy(name, engine, registry, &context.order.repository) => copied?,
        () = context.cancel.cancelled() => return Err(BuildFailure::cancelled()),
        () = tokio::time::sleep(limit) => return Err(BuildFailure::new(format!(
            "pulling {name} took longer than {} minutes; push again, or use a smaller image",
            COPY_SECS_MAX / 60
        ))),
    };
    context.output.detail(copied.image.digest.as_str());
    Ok(copied)
}

async fn copy(
    name: &str,
    engine: &Engine,
    registry: &Registry,
    repository: &str,
) -> Result<Copied, BuildFailure> {
    let elsewhere = elsewhere(name, registry)?;
    let options = CreateImageOptionsBuilder::default()
        .from_image(&elsewhere)
        .build();
    // Without credentials: those at hand are for our registry and for nobody else.
    let pulling = engine.docker().create_image(Some(options), None, None);
    let pulled = pulling.try_for_each(|_| std::future::ready(Ok(()))).await;
    pulled.map_err(|error| not_pulled(name, error))?;
    let image = engine.image(&elsewhere).await?;
    let image = image.context("the image pulled just now is gone")?;
    let id = image.id.clone().context("an image without an id")?;
    let ours = format!("{}/{repository}:{TAG}", registry.access().host);
    engine.tag(&id, &ours).await?;
    let pushed = dockerfile::push(engine, registry, repository, TAG).await;
    // The name has done its work, also when that failed.
    let removed = engine
        .docker()
        .remove_image(&ours, None::<RemoveImageOptions>, None)
        .await;
    if let Err(error) = removed {
        tracing::debug!(ours, "a name of an image stays behind: {error}");
    }
    Ok(Copied {
        image: pushed?,
        command_line: dockerfile::command_line(&image),
    })
}

/// The full name of an image elsewhere, with what is left out of a short one.
fn elsewhere(name: &str, registry: &Registry) -> Result<String, BuildFailure> {
    let refused = |why: String| BuildFailure::new(format!("cannot use the image {name}: {why}"));
    let reference: Reference = name.parse().map_err(|error| refused(format!("{error}")))?;
    if reference.registry() == registry.access().host {
        return Err(refused(
            "it is in the registry of the apps' own images; leave \"image\" out to use this app's"
                .into(),
        ));
    }
    let base = format!("{}/{}", reference.registry(), reference.repository());
    Ok(match (reference.digest(), reference.tag()) {
        (Some(digest), _) => format!("{base}@{digest}"),
        (None, tag) => format!("{base}:{}", tag.unwrap_or(TAG_DEFAULT)),
    })
}

fn not_pulled(name: &str, error: DockerError) -> BuildFailure {
    let said = match error {
        DockerError::DockerStreamError { error } => error,
        DockerError::DockerResponseServerError { message, .. } => message,
        other => {
            let error = anyhow::Error::new(other).context(format!("pull {name}"));
            return BuildFailure::ours(&error);
        }
    };
    BuildFailure::new(format!(
        "cannot pull the sidecar image {name}: {}; check its name, and that it can be had without \
         a password",
        said.trim_end()
    ))
}

fn made(sidecar: Sidecar, built: &BuiltImage, copies: &BTreeMap<String, Copied>) -> BuiltSidecar {
    let copy = sidecar.image.as_ref().and_then(|name| copies.get(name));
    let own = copy.is_none();
    let (entrypoint, command) = match sidecar.command.clone() {
        Some(command) => runs(command, own && !built.buildpacks.is_empty()),
        None => (None, None),
    };
    let shown = match &sidecar.command {
        Some(Command::Line(line)) => line.clone(),
        Some(Command::Words(words)) => words.join(" "),
        None => copy
            .and_then(|copy| copy.command_line.clone())
            .unwrap_or_default(),
    };
    BuiltSidecar {
        name: sidecar.name,
        process_types: sidecar.types,
        one_offs: sidecar.one_offs,
        image: copy.map_or_else(|| built.image.clone(), |copy| copy.image.clone()),
        image_name: sidecar.image,
        command_line: shown,
        entrypoint,
        command,
        env: sidecar.env,
        config: sidecar.config,
        resources: sidecar.resources,
        port: sidecar.port,
        takes_requests: sidecar.takes_requests,
        checks: sidecar.checks,
        stop: sidecar.stop,
        after: sidecar.after,
        on_exit: sidecar.on_exit,
        folders: sidecar.folders,
    }
}

type Words = Option<Vec<String>>;

/// Entrypoint and arguments of a command. In an image that buildpacks made, their launcher sets the
/// environment that they prepared.
fn runs(command: Command, launcher: bool) -> (Words, Words) {
    let words = match command {
        Command::Words(words) => words,
        Command::Line(line) => {
            let shell = SHELL.iter().map(|&part| part.to_owned());
            shell.chain([line]).collect()
        }
    };
    if launcher {
        let command = [vec!["--".to_owned()], words].concat();
        (Some(vec![LAUNCHER.into()]), Some(command))
    } else {
        (Some(words), Some(vec![]))
    }
}

#[cfg(test)]
mod tests;
