//! Keeps a build by the engine within the limits of builds, as far as the engine lets us, and finds
//! out which of them ended a step.
//!
//! | limit | kept by |
//! |---|---|
//! | memory of a step | the engine; its client library has 32 bits for it, so it is put into the address here |
//! | processes | a cgroup of ours around the step's container |
//! | disk | looking at what steps have written, every few seconds |
//! | CPU, time | the engine, and whoever runs the build |

use std::{collections::BTreeMap, fmt};

use bollard::{Docker, query_parameters::InspectContainerOptionsBuilder};

use crate::{
    build::BuildLimits,
    containers::{
        Engine,
        cgroup::{BuildCgroup, Cgroups},
    },
};

/// What a step ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hit {
    Memory { bytes: u64 },
    Processes { count: u32 },
    Disk { bytes: u64 },
}

impl fmt::Display for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { bytes } => {
                let megabytes = bytes / 1_000_000;
                write!(
                    f,
                    "ran out of memory: the limit for builds is {megabytes} MB"
                )?;
            }
            Self::Processes { count } => write!(
                f,
                "started more than {count} processes, which is the limit for builds"
            )?,
            Self::Disk { bytes } => {
                let megabytes = bytes / 1_000_000;
                write!(
                    f,
                    "used more disk space than the limit of {megabytes} MB for builds"
                )?;
            }
        }
        f.write_str("; make the step smaller, or ask the operator to raise the limit")
    }
}

/// The limits of one build, while it runs.
pub(super) struct Guard<'a> {
    engine: &'a Engine,
    limits: &'a BuildLimits,
    cgroup: Option<BuildCgroup>,
    /// A process was refused at some time.
    full: bool,
    /// Bytes that each step's container has written.
    written: BTreeMap<String, u64>,
}

impl<'a> Guard<'a> {
    /// Prepares the limits. Where processes cannot be limited, the log says why.
    pub(super) async fn new(
        engine: &'a Engine,
        cgroups: Option<Cgroups>,
        limits: &'a BuildLimits,
    ) -> Self {
        let made = match cgroups {
            Some(cgroups) => BuildCgroup::make(cgroups, engine.instance(), limits.pids).await,
            None => Err(anyhow::anyhow!(
                "the engine does not say how it keeps cgroups"
            )),
        };
        let cgroup = made
            .inspect_err(|error| {
                tracing::warn!("a Dockerfile build runs without its limit of processes: {error:#}");
            })
            .ok();
        Self {
            engine,
            limits,
            cgroup,
            full: false,
            written: BTreeMap::new(),
        }
    }

    /// The engine's client for this build: it adds to the address of each request what its library
    /// cannot say.
    pub(super) fn docker(&self) -> Docker {
        let memory = self.limits.memory_bytes.min(i64::MAX as u64);
        // As much with swap as without is no swap.
        let mut query = format!("&memory={memory}&memswap={memory}");
        if let Some(cgroup) = &self.cgroup {
            query.push_str("&cgroupparent=");
            query.extend(url::form_urlencoded::byte_serialize(
                cgroup.parent().as_bytes(),
            ));
        }
        let docker = self.engine.docker().clone();
        docker.with_request_modifier(move |mut request| {
            if let Ok(uri) = format!("{}{query}", request.uri()).parse() {
                *request.uri_mut() = uri;
            }
            request
        })
    }

    /// Looks at what runs; tells when the build has to end.
    pub(super) async fn look(&mut self, container: Option<&str>) -> Option<Hit> {
        self.full |= self.cgroup.as_ref().is_some_and(BuildCgroup::is_full);
        let container = container?;
        let options = InspectContainerOptionsBuilder::default().size(true).build();
        let docker = self.engine.docker();
        // One that has just ended has become a layer; what was seen of it before stays counted.
        let inspected = docker.inspect_container(container, Some(options)).await;
        let size = inspected.ok().and_then(|container| container.size_rw);
        if let Some(size) = size.and_then(|size| u64::try_from(size).ok()) {
            self.written.insert(container.to_owned(), size);
        }
        let bytes = self.limits.disk_bytes;
        (self.written.values().sum::<u64>() > bytes).then_some(Hit::Disk { bytes })
    }

    /// True when the processes of the build reached their limit.
    pub(super) fn processes_refused(&self) -> bool {
        self.full || self.cgroup.as_ref().is_some_and(BuildCgroup::is_full)
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some(cgroup) = self.cgroup.take() {
            cgroup.remove();
        }
    }
}
