//! Builds (Platform API: `build`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    accounts::UserRef,
    apps::AppRef,
    ids::{BuildId, ReleaseId},
    names::{BranchName, CommitId},
};

/// How much of a build's output is kept, in bytes; past it the middle is cut and said so.
pub const BUILD_OUTPUT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// `GET /apps/{app}/builds/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    pub id: BuildId,
    pub app: AppRef,
    pub status: BuildStatus,
    /// Where in its life the build is; finer than `status`. Ours, not Heroku's.
    pub phase: BuildPhase,
    /// Why it failed, for the user. Ours, not Heroku's.
    pub failure: Option<String>,
    pub source_blob: SourceBlob,
    pub user: UserRef,
    /// The release made from it, once there is one.
    pub release: Option<BuildRelease>,
    pub buildpacks: Option<Vec<BuildpackRef>>,
    /// A URL of its output: plain text that grows until the push has ended.
    pub output_stream_url: String,
    pub stack: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// The Platform API's three words for a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildStatus {
    Pending,
    Succeeded,
    Failed,
}

/// A build's state; it only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildPhase {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl BuildPhase {
    /// The Platform API's word for this phase.
    pub fn status(self) -> BuildStatus {
        match self {
            Self::Queued | Self::Running => BuildStatus::Pending,
            Self::Succeeded => BuildStatus::Succeeded,
            Self::Failed | Self::Cancelled => BuildStatus::Failed,
        }
    }

    /// True when the build will not change any more.
    pub fn ended(self) -> bool {
        self.status() != BuildStatus::Pending
    }
}

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceBlob {
    pub checksum: Option<String>,
    /// Where it came from, for people: `git push of main`.
    pub url: String,
    /// The commit.
    pub version: Option<String>,
    pub version_description: Option<String>,
}

/// The release that a build led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRelease {
    pub id: ReleaseId,
}

/// A buildpack that took part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildpackRef {
    pub name: String,
    pub url: String,
}

/// The commit that a push asks to deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushedCommit {
    pub id: CommitId,
    pub branch: BranchName,
    /// First line of the message, at most 200 characters.
    pub summary: String,
    /// `Name <email>` as the commit says, at most 200 characters.
    pub author: String,
}
