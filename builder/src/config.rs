//! The settings of a builder. They arrive whole and checked: reading flags, environment and files
//! is the server's work.

use std::{net::SocketAddr, path::PathBuf};

use fairway_api::{client::Client, names::BuilderName};

use crate::build::BuildSettings;

/// How many builds run at once unless the operator says otherwise. One build already uses several
/// cores while it compiles, and a second lets a small app past a big one.
pub const BUILDS_AT_ONCE_DEFAULT: usize = 2;

/// What a builder needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Under which name it claims builds. Stable over restarts.
    pub name: BuilderName,
    /// Short random id of this installation, put on every container, network and volume as
    /// `dev.fairway.instance`.
    pub instance: String,
    /// Folder of its own: repositories, exported sources, SSH host key, hooks.
    pub data_dir: PathBuf,
    /// The controller, with the builder's credential.
    pub client: Client,
    /// Where git over SSH is served; port 0 takes a free one.
    pub listen_ssh: SocketAddr,
    /// The program that git runs as its pre-receive hook, with its arguments: `fairway hook
    /// pre-receive`. It has to end up in [`crate::hook_main`].
    pub hook_program: PathBuf,
    /// See [`Self::hook_program`].
    pub hook_args: Vec<String>,
    /// The most builds that run at once; the others wait in the queue.
    pub builds_at_once: usize,
    /// How builds are done.
    pub build: BuildSettings,
}
