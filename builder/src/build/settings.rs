//! The settings of builds.

use std::path::{Path, PathBuf};

use fairway_api::disk::DiskReserve;

use crate::{
    containers::sandbox::BuildLimits,
    stack::{StackSettings, toolchain::Toolchain},
};

/// The smallest memory limit that is chosen for builds, in bytes: less and a compiler fails.
const MEMORY_BYTES_LEAST: u64 = 1024 * 1024 * 1024;
/// Processes and threads of one build. `npm ci` and parallel compilers use hundreds.
const PIDS_MAX: u32 = 2048;
/// Disk space of one build, in bytes.
const DISK_BYTES_MAX: u64 = 10 * 1024 * 1024 * 1024;
/// Time of one build, in seconds (Heroku allows 15 minutes).
const TIME_SECS_MAX: u64 = 30 * 60;
/// What one app's cache may take on disk, in bytes.
const CACHE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Debian's name of the release that the stack is made from.
const SUITE: &str = "bookworm";

/// How builds are done.
#[derive(Debug, Clone)]
pub struct BuildSettings {
    /// Folder with `builder.toml` and the buildpacks that it names.
    pub buildpacks_dir: PathBuf,
    /// Where the run and build images come from.
    pub stack: StackSettings,
    /// What one build may use.
    pub limits: BuildLimits,
    /// How builds reach package registries.
    pub toolchain: Toolchain,
    /// The most bytes that the cache of one app keeps between builds.
    pub cache_bytes_max: u64,
    /// How much of the disk is to stay free: caches go when it becomes short.
    pub disk_reserve: DiskReserve,
    /// The network that build containers join; `None` is one of their own. `host` lets builds use
    /// a proxy that listens on this machine's loopback.
    pub network: Option<String>,
}

impl BuildSettings {
    /// What works without any setting, for a builder whose data is in `data_dir`.
    ///
    /// Stack images are kept beside it (`FAIRWAY_STACK_CACHE` says otherwise), since they take
    /// minutes to make and are the same for every installation on a machine.
    pub fn new(data_dir: &Path, buildpacks_dir: PathBuf) -> Self {
        let beside = data_dir.parent().unwrap_or(data_dir).join("stack-cache");
        let cache_dir = std::env::var_os("FAIRWAY_STACK_CACHE").map_or(beside, PathBuf::from);
        Self {
            buildpacks_dir,
            stack: StackSettings {
                suite: SUITE.into(),
                debian_mirror: None,
                cache_dir,
            },
            limits: BuildLimits {
                memory_bytes: (memory_bytes() / 2).max(MEMORY_BYTES_LEAST),
                cpu_millis: cores().saturating_mul(1000),
                pids: PIDS_MAX,
                disk_bytes: DISK_BYTES_MAX,
                time_secs: TIME_SECS_MAX,
            },
            toolchain: Toolchain::from_host(),
            cache_bytes_max: CACHE_BYTES_MAX,
            disk_reserve: DiskReserve::default(),
            network: None,
        }
    }
}

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1))
}

/// This machine's memory. Half of it is what a build may take beside the apps.
fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}
