//! Git push in, image out.
//!
//! ```text
//! git push -> receive (SSH, smart HTTP) -> git receive-pack -> pre-receive hook
//!          -> source (commit -> folder) -> queue at the controller
//! worker   <- claims the build          -> build (folder -> image) -> result to the controller
//! ```
//!
//! A build belongs to the server and not to the connection that asked for it: whoever pushed may
//! leave, the build and the move of the ref go on. The builder decides nothing about releases; it
//! hands in an image and waits for the controller's verdict before it lets git move the ref.
//!
//! Reading order: `config`, `receive` and its parts, `source`, `worker`, `output`, then the
//! build itself from `build` on.

// Settings and the whole.
mod builder;
mod config;

// From a push to a source tree, and on to whoever builds it.
mod receive;
mod source;
mod worker;

// What is removed when nobody needs it any more.
mod prune;

// What a build says, and to whom.
mod output;

// The build itself: from a source tree to a pushed image.
mod app_json;
mod build;
mod dockerfile;
mod lifecycle;
mod procfile;
mod publish;
mod strategy;

// What builds stand on.
mod containers;
mod stack;

pub use build::{BuildLimits, BuildSettings};
pub use builder::Builder;
pub use config::{BUILDS_AT_ONCE_DEFAULT, Config};
pub use receive::hook::program::hook_main;
pub use stack::{Progress, StackSettings, toolchain::Toolchain};
