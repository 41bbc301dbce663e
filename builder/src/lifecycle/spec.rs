//! The files of the buildpack specification (buildpack API 0.8 to 0.12), as types.
//!
//! Keys that are not known are ignored: a buildpack may be newer than this builder.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The newest buildpack API that is understood: `0.12`.
pub(crate) const API_NEWEST: (u32, u32) = (0, 12);
/// The oldest.
pub(crate) const API_OLDEST: (u32, u32) = (0, 8);
/// The largest TOML file of a buildpack that is read, in bytes.
pub(crate) const TOML_BYTES_MAX: usize = 1024 * 1024;

/// `builder.toml`: which buildpacks are tried, and in which order.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct BuilderToml {
    pub(crate) order: Vec<OrderGroup>,
}

/// Buildpacks that are tried together.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct OrderGroup {
    pub(crate) group: Vec<GroupMember>,
}

/// A buildpack in a group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct GroupMember {
    pub(crate) id: String,
    pub(crate) version: Option<String>,
    #[serde(default)]
    pub(crate) optional: bool,
}

/// `buildpack.toml`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct BuildpackToml {
    pub(crate) api: String,
    pub(crate) buildpack: BuildpackInfo,
    /// Of a composite buildpack, which has no `bin/`.
    #[serde(default)]
    pub(crate) order: Vec<OrderGroup>,
}

/// What a buildpack says about itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct BuildpackInfo {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) name: Option<String>,
    pub(crate) homepage: Option<String>,
    /// Runs without the variables that users set for builds.
    #[serde(default)]
    pub(crate) clear_env: bool,
}

/// What `bin/detect` may write: what the buildpack provides and requires, with alternatives.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(crate) struct BuildPlan {
    #[serde(flatten)]
    pub(crate) first: PlanSections,
    #[serde(default)]
    pub(crate) or: Vec<PlanSections>,
}

/// One alternative of a [`BuildPlan`].
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(crate) struct PlanSections {
    #[serde(default)]
    pub(crate) provides: Vec<Provide>,
    #[serde(default)]
    pub(crate) requires: Vec<Require>,
}

/// Something that a buildpack can provide.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Provide {
    pub(crate) name: String,
}

/// Something that a buildpack wants provided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Require {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub(crate) metadata: toml::Table,
}

/// What `bin/build` gets: what it has to provide.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct BuildpackPlan {
    pub(crate) entries: Vec<Require>,
}

/// `LAYER.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LayerToml {
    #[serde(default)]
    pub(crate) types: LayerTypes,
    #[serde(default)]
    pub(crate) metadata: toml::Table,
}

/// What a layer is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerTypes {
    /// Buildpacks that come later see it.
    #[serde(default)]
    pub(crate) build: bool,
    /// It is part of the image.
    #[serde(default)]
    pub(crate) launch: bool,
    /// The next build gets it back.
    #[serde(default)]
    pub(crate) cache: bool,
}

/// `launch.toml`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(crate) struct LaunchToml {
    #[serde(default)]
    pub(crate) labels: Vec<Label>,
    #[serde(default)]
    pub(crate) processes: Vec<Process>,
}

/// A label of the image.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Label {
    pub(crate) key: String,
    pub(crate) value: String,
}

/// A process type.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Process {
    #[serde(rename = "type")]
    pub(crate) process_type: String,
    pub(crate) command: Command,
    #[serde(default)]
    pub(crate) args: Vec<String>,
    /// Until API 0.8: true runs without a shell. From 0.9 on there never is one.
    #[serde(default)]
    pub(crate) direct: Option<bool>,
    #[serde(default)]
    pub(crate) default: bool,
    pub(crate) working_dir: Option<String>,
}

/// The command of a process: a string until API 0.8, a list from 0.9 on.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Command {
    Line(String),
    Words(Vec<String>),
}

/// `build.toml`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(crate) struct BuildToml {
    /// Entries of the plan that were not provided after all.
    #[serde(default)]
    pub(crate) unmet: Vec<Provide>,
}

/// `store.toml`: what a buildpack wants to find again in the next build.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoreToml {
    #[serde(default)]
    pub(crate) metadata: toml::Table,
}

/// The label `io.buildpacks.lifecycle.metadata`: what the next build finds out about this image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageMetadata {
    #[serde(default)]
    pub(crate) app: Vec<LayerSha>,
    #[serde(default)]
    pub(crate) config: LayerSha,
    #[serde(default)]
    pub(crate) buildpacks: Vec<BuildpackMetadata>,
    #[serde(default)]
    pub(crate) run_image: RunImageMetadata,
}

/// A layer by the digest of its content before compression.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerSha {
    pub(crate) sha: String,
}

/// The layers of one buildpack in an image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct BuildpackMetadata {
    /// The buildpack's id.
    pub(crate) key: String,
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) layers: BTreeMap<String, LayerMetadata>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<StoreToml>,
}

/// One layer of a buildpack in an image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LayerMetadata {
    pub(crate) sha: String,
    #[serde(default)]
    pub(crate) data: toml::Table,
    #[serde(default)]
    pub(crate) build: bool,
    #[serde(default)]
    pub(crate) launch: bool,
    #[serde(default)]
    pub(crate) cache: bool,
}

/// The run image that an image stands on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunImageMetadata {
    pub(crate) top_layer: String,
    pub(crate) reference: String,
}

/// Reads `0.10` as numbers.
pub(crate) fn api_version(text: &str) -> Option<(u32, u32)> {
    match text.split_once('.') {
        None => Some((text.parse().ok()?, 0)),
        Some((major, minor)) => Some((major.parse().ok()?, minor.parse().ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_both_forms_are_read() {
        let text = r#"
            [[processes]]
            type = "web"
            command = ["bash", "-c", "x"]
            default = true
            [[processes]]
            type = "worker"
            command = "run it"
            direct = false
            working-dir = "/tmp"
        "#;
        let launch: LaunchToml = toml::from_str(text).unwrap();
        let words = ["bash", "-c", "x"].map(str::to_owned).to_vec();
        assert_eq!(launch.processes[0].command, Command::Words(words));
        assert_eq!(launch.processes[1].command, Command::Line("run it".into()));
        assert_eq!(launch.processes[1].working_dir.as_deref(), Some("/tmp"));
    }

    #[test]
    fn a_build_plan_has_alternatives() {
        let text = r#"
            [[provides]]
            name = "a"
            [[or]]
            [[or.requires]]
            name = "b"
            [or.requires.metadata]
            version = "1"
        "#;
        let plan: BuildPlan = toml::from_str(text).unwrap();
        assert_eq!(plan.first.provides[0].name, "a");
        assert_eq!(
            plan.or[0].requires[0].metadata["version"].as_str(),
            Some("1")
        );
    }

    #[test]
    fn versions_of_the_api() {
        assert_eq!(api_version("0.10"), Some((0, 10)));
        assert_eq!(api_version("1"), Some((1, 0)));
        assert_eq!(api_version("new"), None);
    }
}
