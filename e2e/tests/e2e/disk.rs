//! What a destroyed app leaves on disks: nothing. And nobody else loses anything.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, ensure};
use fairway_e2e::{Platform, Repository};

use crate::{OnShared, push::wait, sample};

pub(crate) const TESTS: &[(&str, OnShared)] = &[(
    "disk_of_a_destroyed_app_is_freed",
    of_a_destroyed_app_is_freed,
)];

/// Everything that an app has on the machine.
struct Traces<'a> {
    platform: &'a Platform,
    id: String,
}

impl Traces<'_> {
    fn folders(&self) -> [(&'static str, PathBuf); 3] {
        let (data, id) = (self.platform.data(), &self.id);
        [
            (
                "repository",
                data.join(format!("builder/repositories/{id}.git")),
            ),
            ("build cache", data.join(format!("builder/cache/{id}"))),
            (
                "images in the registry",
                data.join(format!("registry/repositories/apps/{id}")),
            ),
        ]
    }

    /// Names of its images in the engine.
    fn images(&self) -> anyhow::Result<String> {
        let host = self.platform.addresses().registry;
        let reference = format!("reference={host}/apps/{}", self.id);
        let output = Command::new("docker")
            .args(["images", "--digests", "--filter", &reference])
            .args(["--format", "{{.Repository}}:{{.Tag}}@{{.Digest}}"])
            .output()?;
        ensure!(output.status.success(), "docker images: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn are_complete(&self) -> anyhow::Result<()> {
        for (what, folder) in self.folders() {
            ensure!(
                folder.exists(),
                "there is no {what} in {}",
                folder.display()
            );
        }
        let images = self.images()?;
        ensure!(
            images.contains(":latest"),
            "no tag in the engine: {images:?}"
        );
        Ok(())
    }

    fn are_gone(&self) -> anyhow::Result<bool> {
        let left = self.folders().iter().any(|(_, folder)| folder.exists());
        Ok(!left && self.images()?.is_empty())
    }
}

fn of_a_destroyed_app_is_freed(platform: &Platform) -> anyhow::Result<()> {
    let (gone, _) = app_built_both_ways(platform, "disk-gone")?;
    let (kept, repository) = app_built_both_ways(platform, "disk-kept")?;

    platform.app_ok(&["destroy", "disk-gone", "--confirm", "disk-gone"])?;
    wait("nothing is left of the destroyed app", || gone.are_gone())?;
    kept.are_complete()?;
    ensure!(platform.get("disk-kept", "/")? == (200, "second".into()));

    // What it stands on is all there: another build, a way back, and all of it by other pods.
    sample::docker_app(&repository, "third")?;
    repository.commit("third")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);
    platform.app_ok(&["rollback", "v2", "-a", "disk-kept"])?;
    wait("the app is back at its second push", || {
        Ok(platform.get("disk-kept", "/")? == (200, "second".into()))
    })
}

/// An app that was pushed twice, by buildpacks and by a Dockerfile, so that it has everything that
/// an app can have.
fn app_built_both_ways<'a>(
    platform: &'a Platform,
    name: &str,
) -> anyhow::Result<(Traces<'a>, Repository)> {
    let repository = platform.create_app(name)?;
    repository.copy_example("hello-python")?;
    repository.commit("first")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);
    repository.git(&["rm", "-q", "Procfile"])?;
    sample::docker_app(&repository, "second")?;
    repository.commit("second")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);

    let shown = || -> anyhow::Result<serde_json::Value> {
        let text = platform.app_ok(&["info", "-a", name, "--json"])?;
        Ok(serde_json::from_str(&text)?)
    };
    // It is told after the push has been answered.
    wait("the size of the repository is shown", || {
        Ok(shown()?["repo_size"]
            .as_u64()
            .is_some_and(|bytes| bytes > 0))
    })?;
    let id = shown()?["id"]
        .as_str()
        .context("an app has an id")?
        .to_owned();
    let traces = Traces { platform, id };
    traces.are_complete()?;
    Ok((traces, repository))
}
