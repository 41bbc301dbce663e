//! Phase 4: each buildpack's `bin/build` in turn, each seeing what those before it made.

use std::collections::BTreeSet;

use anyhow::Context as _;

use super::{
    Failed, Layers, Session,
    buildpacks::Buildpack,
    confined::{Folder, Kind},
    detect::Detected,
    environment::{Change, For, Variables, apply, apply_users, changes_of_layer, quote},
    spec::{BuildToml, BuildpackPlan, LaunchToml, StoreToml, TOML_BYTES_MAX},
};
use crate::{build::BuildFailure, containers::sandbox::Ended};

/// Files beside the layers that are no layer's.
const NO_LAYERS: [&str; 3] = ["launch.toml", "build.toml", "store.toml"];
/// The most layers of one buildpack.
const LAYERS_MAX: usize = 100;

/// What a buildpack that ended well left behind.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) buildpack: Buildpack,
    pub(crate) layers: Layers,
    pub(crate) launch: LaunchToml,
    pub(crate) store: Option<StoreToml>,
}

impl Session<'_> {
    /// Runs the buildpacks; `built` has those that ended well, also when one fails.
    pub(super) async fn build(
        &mut self,
        detected: &Detected,
        built: &mut Vec<Built>,
    ) -> Result<(), Failed> {
        let mut changes: Vec<Change> = Vec::new();
        let mut provided: BTreeSet<usize> = BTreeSet::new();
        for (at, buildpack) in detected.buildpacks.iter().enumerate() {
            let asked: Vec<usize> = (0..detected.entries.len())
                .filter(|entry| detected.entries[*entry].providers.contains(&at))
                .filter(|entry| !provided.contains(entry))
                .collect();
            let entries = asked
                .iter()
                .flat_map(|&entry| detected.entries[entry].requires.clone());
            let plan = BuildpackPlan {
                entries: entries.collect(),
            };
            let name = format!("plan-{at}.toml");
            let text = toml::to_string(&plan).context("write a buildpack's plan")?;
            std::fs::write(self.sandbox.slot().orders().join(&name), text)
                .context("write a buildpack's plan")?;
            let script = script(
                buildpack,
                &name,
                &self.variables_for_build(buildpack, &changes),
            );
            let ended = self.run(&script, true).await?;
            if ended.code != 0 {
                return Err(self.failed(buildpack, ended).into());
            }
            let layers = Folder::open(&self.sandbox.slot().layers()).context("read the layers")?;
            let made = collect(&layers, buildpack)?;
            let unmet = made.1.unmet.iter().map(|entry| entry.name.as_str());
            let unmet: BTreeSet<&str> = unmet.collect();
            provided.extend(asked.into_iter().filter(|&entry| {
                detected.entries[entry]
                    .requires
                    .iter()
                    .all(|r| !unmet.contains(r.name.as_str()))
            }));
            changes.extend(changes_for_build(&layers, &made.0)?);
            built.push(made.0);
        }
        Ok(())
    }

    fn variables_for_build(&self, buildpack: &Buildpack, changes: &[Change]) -> Variables {
        let mut variables = self.base.clone();
        apply(&mut variables, changes);
        if !buildpack.clear_env {
            apply_users(&mut variables, &self.users);
        }
        variables.insert("CNB_BUILDPACK_DIR".into(), buildpack.dir.clone());
        variables.insert(
            "CNB_LAYERS_DIR".into(),
            format!("/layers/{}", buildpack.folder()),
        );
        variables
    }

    /// Names what ended a buildpack.
    fn failed(&self, buildpack: &Buildpack, ended: Ended) -> BuildFailure {
        let limits = self.lifecycle.limits;
        let (name, code) = (&buildpack.name, ended.code);
        BuildFailure::new(if ended.out_of_memory {
            format!(
                "the build ran out of memory: the limit for builds is {} MB; make it smaller, or \
                 ask the operator to raise the limit",
                limits.memory_bytes / 1_000_000
            )
        } else if ended.out_of_processes {
            format!(
                "the build started more than {} processes, which is the limit for builds; the \
                 output of the build says why",
                limits.pids
            )
        } else {
            format!(
                "the {name} buildpack exited with code {code}; the output of the build says why"
            )
        })
    }
}

fn script(buildpack: &Buildpack, plan: &str, variables: &Variables) -> String {
    let layers = format!("/layers/{}", buildpack.folder());
    let plan = format!("/fairway/{plan}");
    let mut line = "cd /workspace && exec env -i".to_owned();
    let own = [("CNB_BP_PLAN_PATH", plan.as_str())];
    let all = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .chain(own);
    for (name, value) in all {
        line.push(' ');
        line.push_str(&quote(&format!("{name}={value}")));
    }
    for word in [
        &format!("{}/bin/build", buildpack.dir),
        &layers,
        "/platform",
        &plan,
    ] {
        line.push(' ');
        line.push_str(&quote(word));
    }
    line.push('\n');
    line
}

/// Reads what a buildpack wrote beside its layers.
fn collect(layers: &Folder, buildpack: &Buildpack) -> Result<(Built, BuildToml), Failed> {
    let name = &buildpack.name;
    let gone = || BuildFailure::new(format!("the {name} buildpack removed its layers folder"));
    let dir = layers
        .folder_if_any(buildpack.folder())
        .context("read the layers")?
        .ok_or_else(gone)?;
    let mut made = Layers::new();
    for entry in dir.entries().context("read the layers")? {
        let Some(file) = entry.name.to_str() else {
            continue;
        };
        let layer = file
            .strip_suffix(".toml")
            .filter(|_| entry.kind == Kind::File);
        let Some(layer) = layer.filter(|_| !NO_LAYERS.contains(&file)) else {
            continue;
        };
        made.insert(layer.to_owned(), read(&dir, file, buildpack)?);
        if made.len() > LAYERS_MAX {
            let text = format!("the {name} buildpack made more than {LAYERS_MAX} layers");
            return Err(BuildFailure::new(text).into());
        }
    }
    let store: StoreToml = read(&dir, "store.toml", buildpack)?;
    let built = Built {
        buildpack: buildpack.clone(),
        layers: made,
        launch: read(&dir, "launch.toml", buildpack)?,
        store: (!store.metadata.is_empty()).then_some(store),
    };
    Ok((built, read(&dir, "build.toml", buildpack)?))
}

fn read<T: serde::de::DeserializeOwned + Default>(
    dir: &Folder,
    file: &str,
    buildpack: &Buildpack,
) -> Result<T, BuildFailure> {
    let wrong = |why: String| {
        BuildFailure::new(format!(
            "the {} buildpack wrote a {file} that cannot be used: {why}",
            buildpack.name
        ))
    };
    match dir
        .read(file, TOML_BYTES_MAX)
        .map_err(|error| wrong(error.to_string()))?
    {
        Some(bytes) => toml::from_slice(&bytes).map_err(|error| wrong(error.to_string())),
        None => Ok(T::default()),
    }
}

/// What the layers of a buildpack change for those after it.
fn changes_for_build(layers: &Folder, built: &Built) -> Result<Vec<Change>, Failed> {
    let mut changes = Vec::new();
    let folder = built.buildpack.folder();
    let Some(dir) = layers.folder_if_any(&folder).context("read the layers")? else {
        return Ok(changes);
    };
    for (name, _) in built.layers.iter().filter(|(_, toml)| toml.types.build) {
        if let Some(layer) = dir.folder_if_any(name).context("read a layer")? {
            let path = format!("/layers/{folder}/{name}");
            let more = changes_of_layer(&layer, &path, For::Build).map_err(|error| {
                BuildFailure::new(format!("the environment of the layer {name}: {error}"))
            })?;
            changes.extend(more);
        }
    }
    Ok(changes)
}
