//! One build container: a shell that waits for orders, and what comes back from it.
//!
//! ```text
//! builder -> "run /fairway/3.sh MARK\n" -> stdin of the driver -> sh /fairway/3.sh
//! builder <- output ..., "\x1eMARK 0 0 0\n" <- stdout of the driver
//! ```
//!
//! Starting a container costs more than a whole cached build, and so would `docker exec` for each
//! buildpack. So a container is started ahead of time with an idle shell in it, and an order is
//! one line to that shell. The build runs as an unprivileged user without capabilities or
//! credentials, on a read-only root file system, within limits of memory, CPU, processes, disk and
//! time. What it hits is told apart by the counters of its cgroup.
//!
//! The driver runs as the same user as the build, so that nothing it says is to be trusted further
//! than the build itself: it can only lie about its own build.

use std::{pin::Pin, time::Duration};

use anyhow::Context as _;
use bollard::{
    container::AttachContainerResults,
    errors::Error as DockerError,
    models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, ResourcesUlimits},
    query_parameters::{AttachContainerOptionsBuilder, CreateContainerOptionsBuilder},
};
use futures_util::{Stream, StreamExt};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Engine,
    slot::{Slot, build_user},
};
use crate::lifecycle::confined::Folder;

/// How often a running build's use of the disk is looked at, in seconds. Looking means walking all
/// its files.
const DISK_CHECK_SECS: u64 = 3;
/// Seconds that the driver has to answer when all it does is clean up.
const DRIVER_SECS_MAX: u64 = 10;
/// CPU weight of a build against that of an app's pods, which have the engine's 1024.
const CPU_SHARES: i64 = 256;
/// Starts the mark of an ended order: a character that no tool prints.
const MARK_START: u8 = 0x1e;
/// The longest rest of a mark line, in bytes.
const MARK_BYTES_MAX: usize = 128;

/// The shell in the container. Counters: processes killed for want of memory, processes refused.
const DRIVER: &str = r#"
count() {
  for file in "$2" "$3"; do
    [ -r "$file" ] || continue
    while read -r key value; do
      if [ "$key" = "$1" ]; then printf ' %s' "$value"; return; fi
    done <"$file"
  done
  printf ' 0'
}
while read -r verb script mark; do
  status=0
  case $verb in
    run) sh "$script" </dev/null 2>&1 || status=$? ;;
    clean) kill -9 -1 2>/dev/null ;;
  esac
  printf '\036%s %s' "$mark" "$status"
  count oom_kill /sys/fs/cgroup/memory/memory.oom_control /sys/fs/cgroup/memory.events
  count max /sys/fs/cgroup/pids/pids.events /sys/fs/cgroup/pids.events
  printf '\n'
done
"#;

/// What a build may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildLimits {
    /// Memory, in bytes. Swap is not on offer.
    pub memory_bytes: u64,
    /// CPU time, in thousandths of a core.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub pids: u32,
    /// Space on disk for source, layers and scratch files, in bytes.
    pub disk_bytes: u64,
    /// Time for one build from start to end, in seconds.
    pub time_secs: u64,
}

/// A container that waits for orders.
pub(crate) struct Sandbox {
    engine: Engine,
    id: String,
    slot: Slot,
    limits: BuildLimits,
    input: Pin<Box<dyn AsyncWrite + Send>>,
    output: Pin<Box<dyn Stream<Item = Result<bollard::container::LogOutput, DockerError>> + Send>>,
    counters: Counters,
    orders: u64,
}

/// How to start a sandbox.
#[derive(Debug, Clone)]
pub(crate) struct SandboxSpec {
    pub(crate) image: String,
    pub(crate) network: String,
    /// Read-only mounts besides the slot's: `source:target:ro`.
    pub(crate) binds: Vec<String>,
    pub(crate) limits: BuildLimits,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counters {
    out_of_memory: u64,
    processes_refused: u64,
}

/// How an order ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    /// A process was killed since the memory limit was reached.
    pub(crate) out_of_memory: bool,
    /// A process could not be started since the limit of processes was reached.
    pub(crate) out_of_processes: bool,
}

/// Why an order did not end by itself. The container is of no use afterwards.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stopped {
    #[error("the build was cancelled")]
    Cancelled,
    #[error(
        "the build took longer than the limit of {} minutes; make it smaller, or ask the operator \
         to raise the limit", secs.div_ceil(60)
    )]
    Time { secs: u64 },
    #[error(
        "the build used more disk space than the limit of {} MB; make it smaller, or ask the \
         operator to raise the limit", bytes / 1_000_000
    )]
    Disk { bytes: u64 },
    /// The container ended, or the engine did.
    #[error("the build container was lost")]
    Lost(#[source] anyhow::Error),
}

impl Sandbox {
    /// Starts a container on this slot, and attaches to its driver.
    pub(crate) async fn start(
        engine: &Engine,
        slot: Slot,
        spec: &SandboxSpec,
    ) -> anyhow::Result<Self> {
        let body = container(engine, &slot, spec);
        let name = engine.container_name();
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let created = engine.docker().create_container(Some(options), body).await;
        let id = created.context("make a build container")?.id;
        let attached = async {
            let options = AttachContainerOptionsBuilder::default()
                .stdin(true)
                .stdout(true)
                .stderr(true)
                .stream(true)
                .build();
            let attached = engine.docker().attach_container(&id, Some(options)).await?;
            engine.docker().start_container(&id, None).await?;
            Ok::<_, DockerError>(attached)
        };
        match attached.await {
            Ok(AttachContainerResults { output, input }) => Ok(Self {
                engine: engine.clone(),
                id,
                slot,
                limits: spec.limits.clone(),
                input,
                output,
                counters: Counters::default(),
                orders: 0,
            }),
            Err(error) => {
                if let Err(error) = engine.remove_container(&id).await {
                    tracing::warn!("a build container that did not start stays behind: {error:#}");
                }
                Err(error).context("start a build container")
            }
        }
    }

    /// Its folders.
    pub(crate) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Runs a shell script; what it prints goes to `sink` as it comes.
    pub(crate) async fn run(
        &mut self,
        script: &str,
        sink: &mut (dyn FnMut(&[u8]) + Send),
        deadline: Instant,
        cancel: &CancellationToken,
    ) -> Result<Ended, Stopped> {
        self.orders += 1;
        let name = format!("{}.sh", self.orders);
        std::fs::write(self.slot.orders().join(&name), script)
            .context("write an order for the build container")
            .map_err(Stopped::Lost)?;
        let (slot, limits) = (self.slot.clone(), self.limits.clone());
        let path = format!("/fairway/{name}");
        let order = self.order("run", &path, sink);
        let mut disk_checks = disk_checks();
        tokio::pin!(order);
        loop {
            tokio::select! {
                ended = &mut order => return ended,
                () = cancel.cancelled() => return Err(Stopped::Cancelled),
                () = tokio::time::sleep_until(deadline) => {
                    return Err(Stopped::Time { secs: limits.time_secs });
                }
                _ = disk_checks.tick() => {
                    if disk_bytes(&slot).await > limits.disk_bytes {
                        return Err(Stopped::Disk { bytes: limits.disk_bytes });
                    }
                }
            }
        }
    }

    /// True when the driver answers. A container that waits may have been removed meanwhile, or the
    /// engine restarted.
    pub(crate) async fn answers(&mut self) -> bool {
        let limit = Duration::from_secs(DRIVER_SECS_MAX);
        let mut sink = |_: &[u8]| {};
        let answer = tokio::time::timeout(limit, self.order("ping", "-", &mut sink));
        matches!(answer.await, Ok(Ok(_)))
    }

    /// Ends all processes but the driver, and empties the folders, so that the container can take
    /// another build of the same app.
    pub(crate) async fn clean(&mut self) -> anyhow::Result<()> {
        let limit = Duration::from_secs(DRIVER_SECS_MAX);
        tokio::time::timeout(limit, self.order("clean", "-", &mut |_| {}))
            .await
            .context("the build container did not answer")??;
        let slot = self.slot.clone();
        tokio::task::spawn_blocking(move || slot.empty())
            .await?
            .context("empty the folders of a build container")
    }

    /// Ends the container. The slot stays.
    pub(crate) async fn remove(self) -> anyhow::Result<Slot> {
        self.engine.remove_container(&self.id).await?;
        Ok(self.slot)
    }

    /// Gives an order to the driver and waits until it says that it is done.
    async fn order(
        &mut self,
        verb: &str,
        script: &str,
        sink: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Ended, Stopped> {
        let lost = |error: std::io::Error| Stopped::Lost(error.into());
        let mark = uuid::Uuid::new_v4().simple().to_string();
        self.input
            .write_all(format!("{verb} {script} {mark}\n").as_bytes())
            .await
            .map_err(lost)?;
        self.input.flush().await.map_err(lost)?;
        let mut scanner = Scanner::new(&mark);
        let mut clear = Vec::new();
        loop {
            let chunk = match self.output.next().await {
                Some(Ok(chunk)) => chunk.into_bytes(),
                Some(Err(error)) => return Err(Stopped::Lost(error.into())),
                None => return Err(died(&self.engine, &self.id).await),
            };
            let ended = scanner.push(&chunk, &mut clear);
            if !clear.is_empty() {
                sink(&clear);
                clear.clear();
            }
            if let Some((code, counters)) = ended {
                let before = std::mem::replace(&mut self.counters, counters);
                return Ok(Ended {
                    code,
                    out_of_memory: counters.out_of_memory > before.out_of_memory,
                    out_of_processes: counters.processes_refused > before.processes_refused,
                });
            }
        }
    }
}

/// The driver itself ended, which no order asks for.
async fn died(engine: &Engine, id: &str) -> Stopped {
    let state = engine.docker().inspect_container(id, None).await;
    let out_of_memory = state.is_ok_and(|container| {
        container
            .state
            .and_then(|state| state.oom_killed)
            .unwrap_or_default()
    });
    let why = if out_of_memory {
        "it ran out of memory"
    } else {
        "it ended"
    };
    Stopped::Lost(anyhow::anyhow!("{why}"))
}

fn container(engine: &Engine, slot: &Slot, spec: &SandboxSpec) -> ContainerCreateBody {
    let limits = &spec.limits;
    let (user, group) = build_user();
    let bytes = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let mut binds = slot.binds();
    binds.extend(spec.binds.iter().cloned());
    let file_size = ResourcesUlimits {
        name: Some("fsize".into()),
        soft: Some(bytes(limits.disk_bytes)),
        hard: Some(bytes(limits.disk_bytes)),
    };
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        entrypoint: Some(vec!["/bin/sh".into(), "-c".into(), DRIVER.into()]),
        cmd: Some(vec![]),
        user: Some(format!("{user}:{group}")),
        working_dir: Some("/workspace".into()),
        labels: Some(engine.labels()),
        open_stdin: Some(true),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        host_config: Some(HostConfig {
            binds: Some(binds),
            network_mode: Some(spec.network.clone()),
            // The output is ours alone; the engine would keep a second copy of it on disk.
            log_config: Some(HostConfigLogConfig {
                typ: Some("none".into()),
                config: None,
            }),
            memory: Some(bytes(limits.memory_bytes)),
            memory_swap: Some(bytes(limits.memory_bytes)),
            cpu_period: Some(100_000),
            cpu_quota: Some(i64::from(limits.cpu_millis) * 100),
            cpu_shares: Some(CPU_SHARES),
            pids_limit: Some(i64::from(limits.pids)),
            ulimits: Some(vec![file_size]),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".into()]),
            security_opt: Some(vec!["no-new-privileges".into()]),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

fn disk_checks() -> Interval {
    let every = Duration::from_secs(DISK_CHECK_SECS);
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The space that a slot takes. A tree that changes while it is walked gives some number or none.
async fn disk_bytes(slot: &Slot) -> u64 {
    let dir = slot.dir().to_owned();
    let sum = tokio::task::spawn_blocking(move || Folder::open(&dir)?.disk_bytes());
    sum.await.ok().and_then(Result::ok).unwrap_or(0)
}

/// Finds the mark of an ended order in the output, however it is cut into chunks. Pure.
struct Scanner {
    mark: Vec<u8>,
    /// What may be the start of a mark line and is held back.
    held: Vec<u8>,
}

impl Scanner {
    fn new(mark: &str) -> Self {
        let mut bytes = vec![MARK_START];
        bytes.extend(mark.as_bytes());
        bytes.push(b' ');
        Self {
            mark: bytes,
            held: Vec::new(),
        }
    }

    /// Takes a chunk, appends to `clear` what is certainly output, and says how the order ended
    /// when its mark is complete.
    fn push(&mut self, chunk: &[u8], clear: &mut Vec<u8>) -> Option<(i32, Counters)> {
        self.held.extend_from_slice(chunk);
        loop {
            let Some(start) = self.held.iter().position(|&byte| byte == MARK_START) else {
                clear.append(&mut self.held);
                return None;
            };
            clear.extend(self.held.drain(..start));
            let compared = self.held.len().min(self.mark.len());
            if self.held[..compared] != self.mark[..compared] {
                // Only a character that looked like the start.
                clear.extend(self.held.drain(..1));
                continue;
            }
            let end = self.held.iter().position(|&byte| byte == b'\n');
            match end {
                Some(end) if end > self.mark.len() => {
                    let fields = String::from_utf8_lossy(&self.held[self.mark.len()..end]);
                    return Some(ended(&fields));
                }
                None if self.held.len() <= self.mark.len() + MARK_BYTES_MAX => return None,
                _ => clear.extend(self.held.drain(..1)),
            }
        }
    }
}

fn ended(fields: &str) -> (i32, Counters) {
    let mut numbers = fields
        .split(' ')
        .map(|field| field.parse::<u64>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let code = i32::try_from(next()).unwrap_or(1);
    (
        code,
        Counters {
            out_of_memory: next(),
            processes_refused: next(),
        },
    )
}

#[cfg(test)]
mod tests;
