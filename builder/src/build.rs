//! From a source tree to a pushed image.

use std::path::PathBuf;

use fairway_api::build_orders::{BuildOrder, BuiltImage};
use tokio_util::sync::CancellationToken;

use crate::{Config, output::Output};

/// What builds share: the connection to the engine and the like.
pub(crate) struct BuildTools {}

impl BuildTools {
    /// Prepares what every build needs; touches neither network nor engine.
    pub(crate) fn new(_config: &Config) -> anyhow::Result<Self> {
        Ok(Self {})
    }
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

/// Why a build failed, in words for the user.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct BuildFailure {
    pub(crate) reason: String,
}

/// Builds.
pub(crate) async fn build(
    _tools: &BuildTools,
    context: BuildContext,
) -> Result<BuiltImage, BuildFailure> {
    context.output.error("building is not there yet");
    Err(BuildFailure { reason: "building is not there yet".into() })
}
