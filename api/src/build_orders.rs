//! What passes between a builder and the controller: who may push, what to build, how it went.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

use crate::{
    accounts::UserRef,
    apps::AppRef,
    builds::{BuildpackRef, PushedCommit},
    checks::Checks,
    deployments::Strategy,
    ids::{AppId, BuildId, ReleaseId},
    images::{ImageRef, RegistryAccess},
    jobs::CronJob,
    names::{AppName, BranchName, BuilderName, ConfigName, JobName, ProcessType},
    placement::Placement,
    pods::StopPolicy,
    secret::Secret,
    sidecars::BuiltSidecars,
};

/// How long `POST /internal/builds/claim` waits for work, in seconds.
pub const CLAIM_WAIT_SECS: u64 = 25;
/// A running build that sent neither output nor heartbeat for this long, in seconds, is failed as
/// interrupted.
pub const BUILD_LEASE_SECS: u64 = 30;
/// How often a builder says that a build is alive, in seconds.
pub const BUILD_HEARTBEAT_SECS: u64 = 5;

/// `POST /internal/git/authorize`: may this credential read or write this app's repository?
/// 401 for a bad credential, 404 for an app that does not exist or is not the account's to see.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GitAuthorize {
    pub credential: GitCredential,
    pub app: AppName,
    pub access: GitAccess,
    /// Of the client, for the record.
    pub from: Option<IpAddr>,
}

/// How a git client proved who it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum GitCredential {
    /// HTTP basic: any user name with an API token as password, or email and password.
    Basic { username: String, password: Secret },
    /// An SSH key whose signature the receiver has verified: `SHA256:...`.
    Key { fingerprint: String },
}

/// Fetch or push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GitAccess {
    Read,
    Write,
}

/// A granted [`GitAuthorize`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GitGrant {
    pub user: UserRef,
    pub app: AppRef,
    /// `None`: `main` and `master` both deploy.
    pub deploy_branch: Option<BranchName>,
    /// The most bytes the repository may have on disk after this push.
    pub repository_bytes_max: u64,
    /// The app was made by this push (create-on-push).
    pub created: bool,
}

/// `POST /internal/git/size`: how large an app's repository is after a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositorySize {
    pub app: AppId,
    pub bytes: u64,
}

/// `POST /internal/git/give-up`: the push that made an app stored nothing. The app is removed if
/// nobody has done anything with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveUpApp {
    pub app: AppId,
}

/// `POST /internal/builds`: queues a build of a commit whose source this builder holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewBuild {
    pub app: AppName,
    pub user: UserRef,
    pub builder: BuilderName,
    pub commit: PushedCommit,
}

/// The answer to [`NewBuild`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedBuild {
    pub id: BuildId,
    /// What has to end first, if anything.
    pub waits_for: Option<WaitsFor>,
}

/// Whose build or deployment a queued build waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitsFor {
    pub build: BuildId,
    pub user: UserRef,
    /// First 8 digits of its commit.
    pub commit: String,
}

/// `POST /internal/builds/claim`: asks for the next build of this builder; 204 when there is none
/// after [`CLAIM_WAIT_SECS`]. Builds of one app run one at a time, and not while its deployment
/// does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClaimBuild {
    pub builder: BuilderName,
    /// Builds that this builder runs, or whose results it still has to hand in. A running build of
    /// its that is missing here was lost with a process before this one, and is failed at once.
    pub in_hand: BTreeSet<BuildId>,
}

/// A build to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildOrder {
    pub id: BuildId,
    pub app: AppRef,
    pub commit: PushedCommit,
    /// Where the image goes, and where the cache is.
    pub registry: RegistryAccess,
    /// Repository for the image: `apps/<app id>`. By id, so that a rename moves nothing.
    pub repository: String,
    /// The image of the current release, for layers to reuse.
    pub previous_image: Option<ImageRef>,
    /// Config vars that builds may see (`crate::config_vars::is_build_var`).
    pub env: BTreeMap<ConfigName, Secret>,
    /// Values to black out in the output. All config vars of the app, longest first; only those of
    /// 8 characters and more.
    pub redact: Vec<Secret>,
}

/// `POST /internal/builds/{id}/heartbeat` and `.../output` answer with this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildLease {
    /// True: stop; the user cancelled it or the lease was lost.
    pub cancelled: bool,
}

/// `POST /internal/builds/{id}/result`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one of it per build, and it is moved a few times"
)]
pub enum BuildResult {
    Succeeded(BuiltImage),
    /// `reason` was written for the user and stands on the last line of the output.
    Failed {
        reason: String,
    },
}

/// What a successful build made: all that a release takes from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltImage {
    pub image: ImageRef,
    /// Compressed bytes of all layers.
    pub size_bytes: u64,
    /// How it was built, for people: `Dockerfile`, `Python`, `Node.js`.
    pub built_with: String,
    pub buildpacks: Vec<BuildpackRef>,
    pub processes: BTreeMap<ProcessType, BuiltProcess>,
    /// The port that the image exposes, if it is exactly one.
    pub exposed_port: Option<u16>,
    /// From app.json `formation`: counts and sizes for types that have no formation yet.
    pub formation: BTreeMap<ProcessType, InitialFormation>,
    /// From app.json `cron`: commands that run by schedule while the release serves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cron: BTreeMap<JobName, CronJob>,
    /// From app.json `sidecars` and `shared`: what pods have besides their main container.
    #[serde(default, skip_serializing_if = "BuiltSidecars::is_empty")]
    pub sidecars: BuiltSidecars,
    /// From app.json `deploy.strategy`: how the release takes over, unless somebody has chosen for
    /// the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Box<Strategy>>,
}

/// One process type of a built image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltProcess {
    /// As the user wrote it, to show.
    pub command_line: String,
    /// Entrypoint and arguments for the engine; `None` keeps the image's own.
    pub entrypoint: Option<Vec<String>>,
    pub command: Option<Vec<String>>,
    /// From app.json; `None` takes the default of the type.
    pub checks: Option<Checks>,
    pub stop: Option<StopPolicy>,
}

/// What app.json asks for a process type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitialFormation {
    pub quantity: u32,
    pub size: Option<String>,
    /// Where its pods may run. Unlike count and size, which are a beginning, it belongs to the
    /// release.
    #[serde(default)]
    pub placement: Placement,
}

/// `GET /internal/builds/{id}/verdict`: how the whole push ended; 204 when it has not after
/// [`CLAIM_WAIT_SECS`]. The ref moves only on `Released`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum PushVerdict {
    /// The release is live.
    Released { release: ReleaseId, version: u64 },
    /// Build or release failed; the output has said why.
    Failed { reason: String },
}
