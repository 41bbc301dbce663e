//! An app's environment (Platform API: `config-var`): a flat JSON object of names and values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{names::ConfigName, secret::Secret};

/// The most bytes that an app's names and values may have together.
///
/// Linux gives a process 128 KiB per string and a quarter of its stack in all; half of the
/// smallest of these leaves room for what the platform and the image add.
pub const CONFIG_BYTES_MAX: usize = 64 * 1024;

/// `GET /apps/{app}/config-vars`.
pub type ConfigVars = BTreeMap<ConfigName, Secret>;

/// `PATCH /apps/{app}/config-vars`: a value sets, `null` unsets, what is absent stays.
pub type ConfigPatch = BTreeMap<ConfigName, Option<Secret>>;

/// Names that the platform sets itself; setting them is refused, so that nobody wonders why the
/// value has no effect.
pub const CONFIG_NAMES_RESERVED: [&str; 2] = ["PORT", "DYNO"];

/// `GET /apps/{app}/config-files`: a config var that pods have as a file. Ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFile {
    pub name: ConfigName,
    /// Where pods find it.
    pub path: String,
    /// False for one that has no value yet: pods do not have it.
    pub is_set: bool,
}

/// `PUT /apps/{app}/config-files/{name}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetConfigFile {
    /// Without it the config var keeps its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Secret>,
}

/// The answer to a change of config files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFileChange {
    pub file: ConfigFile,
    /// Version of the release that brings it about; `None` if nothing has changed.
    pub release: Option<u64>,
}

/// True for config vars that a build may see: names that start with `BP_`, by which Cloud Native
/// Buildpacks are set. All other values exist only at run time.
pub fn is_build_var(name: &ConfigName) -> bool {
    name.as_str().starts_with("BP_")
}
