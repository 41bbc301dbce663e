//! What this machine has: memory, cores, processes, disk, engine.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use fairway_api::{nodes::Capacity, sizes::Resources};
use tokio::{sync::OnceCell, time::timeout};

use crate::engine::Engine;

/// Processes and threads that a kernel allows when it does not say (Linux's own default).
const PIDS_DEFAULT: u32 = 32_768;
/// How long a report waits for the engine to describe itself, in seconds.
const ABOUT_SECS: u64 = 1;
const MILLIS_PER_CORE: u32 = 1_000;

/// The machine, asked anew where things change.
#[derive(Debug)]
pub(crate) struct Facts {
    engine: Arc<Engine>,
    resources: Resources,
    /// Name and version of the engine and where its data is; known once it has answered.
    about: OnceCell<(String, PathBuf)>,
}

impl Facts {
    pub(crate) fn gather(engine: Arc<Engine>) -> Self {
        let memory = sysinfo::System::new().map(|mut system| {
            system.refresh_memory();
            system.total_memory()
        });
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let resources = Resources {
            memory_bytes: memory.unwrap_or_default(),
            cpu_millis: u32::try_from(cores)
                .unwrap_or(u32::MAX)
                .saturating_mul(MILLIS_PER_CORE),
            pids: pids(),
        };
        Self {
            engine,
            resources,
            about: OnceCell::new(),
        }
    }

    pub(crate) async fn capacity(&self) -> Capacity {
        let about = self.about.get_or_try_init(|| self.engine.about());
        let (engine, root) = match timeout(Duration::from_secs(ABOUT_SECS), about).await {
            Ok(Ok((engine, root))) => (engine.clone(), root.clone()),
            Ok(Err(error)) => (error.to_string(), PathBuf::from("/")),
            Err(_) => (
                "the container engine does not answer".to_owned(),
                PathBuf::from("/"),
            ),
        };
        let disk = rustix::fs::statvfs(&root).ok();
        Capacity {
            resources: self.resources,
            disk_bytes: disk
                .as_ref()
                .map_or(0, |disk| disk.f_blocks * disk.f_frsize),
            // What is left for ordinary users: the rest is the superuser's reserve.
            disk_free_bytes: disk
                .as_ref()
                .map_or(0, |disk| disk.f_bavail * disk.f_frsize),
            architecture: std::env::consts::ARCH.to_owned(),
            engine,
        }
    }
}

fn pids() -> u32 {
    let limit = |name: &str| -> Option<u32> {
        fs::read_to_string(format!("/proc/sys/kernel/{name}"))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    let limits = ["pid_max", "threads-max"].into_iter().filter_map(limit);
    limits.min().unwrap_or(PIDS_DEFAULT)
}
