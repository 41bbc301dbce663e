//! The parts of a push and how long each takes, as lines of one shape in the log.
//!
//! Every role measures what it does itself; the lines together are the way from the push to the
//! first pod with requests. Phases follow one another, so that their times add up; one whose name
//! has a slash is part of the phase before the slash. `docs/operating.md` lists them for operators.

use std::{fmt::Display, time::Duration};

/// The target of the lines: `FAIRWAY_LOG=info,phase=debug` shows them.
pub const PHASE_TARGET: &str = "phase";

/// A part of a push, in the order in which they happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The list of refs that git asks for first, over HTTP only.
    Refs,
    /// From the request, or the command over SSH, to git's hook: the pack has come in.
    Receive,
    /// The commit's tree is written to files.
    Source,
    /// The build is queued, waits for its turn and is claimed.
    Queue,
    /// Stack and registry are as the build needs them.
    Prepare,
    /// The engine builds from the Dockerfile.
    Engine,
    /// The engine puts the image into the registry.
    Publish,
    /// A build container is taken and filled with the source.
    Container,
    /// Buildpacks say whether they build this; the previous image is read beside it.
    Detect,
    /// Cached layers are put back.
    Restore,
    /// Buildpacks build.
    Build,
    /// Layers are packed and put into the registry.
    Export,
    /// The result goes to the controller, which makes release and deployment of it.
    HandIn,
    /// The deployment waits for those before it.
    ReleaseQueue,
    /// The release phase's command runs.
    ReleasePhase,
    /// The new pods start, from the plan until all are ready.
    Start,
    /// Of `Start`: a container is created, its image pulled if the engine lacks it.
    StartCreate,
    /// Of `Start`: a container is started.
    StartRun,
    /// Of `Start`: the startup check passes.
    StartCheck,
    /// Every live router gets the new routes and acknowledges them.
    Flip,
    /// The pusher's verdict is written.
    Verdict,
    /// Git moves the ref and ends.
    End,
    /// All of the push but `Refs`, as its builder saw it.
    Push,
}

impl Phase {
    /// Its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refs => "refs",
            Self::Receive => "receive",
            Self::Source => "source",
            Self::Queue => "queue",
            Self::Prepare => "prepare",
            Self::Engine => "engine",
            Self::Publish => "publish",
            Self::Container => "container",
            Self::Detect => "detect",
            Self::Restore => "restore",
            Self::Build => "build",
            Self::Export => "export",
            Self::HandIn => "hand-in",
            Self::ReleaseQueue => "release-queue",
            Self::ReleasePhase => "release-phase",
            Self::Start => "start",
            Self::StartCreate => "start/create",
            Self::StartRun => "start/run",
            Self::StartCheck => "start/check",
            Self::Flip => "flip",
            Self::Verdict => "verdict",
            Self::End => "end",
            Self::Push => "push",
        }
    }

    /// Logs that it took so long; `of` is the id of the app, build or pod that it was about.
    pub fn log(self, of: impl Display, took: Duration) {
        let millis = took.as_micros() / 100;
        let (millis, tenths) = (millis / 10, millis % 10);
        tracing::debug!(
            target: PHASE_TARGET,
            phase = self.name(),
            millis = %format_args!("{millis}.{tenths}"),
            %of,
        );
    }
}
