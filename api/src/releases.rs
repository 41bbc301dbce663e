//! Releases (Platform API: `release`): image, config version, process types and checks, numbered.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    accounts::UserRef,
    apps::AppRef,
    ids::ReleaseId,
    names::{CommitId, Digest, ProcessType},
};

/// `GET /apps/{app}/releases/{id_or_version}`. Immutable but for `status` and `current`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub id: ReleaseId,
    pub app: AppRef,
    /// 1, 2, 3 ... per app, without gaps.
    pub version: u64,
    /// What made it: `Deploy 1a2b3c4d`, `Set GREETING config var`, `Rollback to v3`.
    pub description: String,
    pub status: ReleaseStatus,
    pub current: bool,
    /// It did not fail and its image is kept, so one can go back to it.
    pub eligible_for_rollback: bool,
    pub user: UserRef,
    pub addon_plan_names: Vec<String>,
    /// Heroku's name for what was built; null here, `image` says it.
    pub slug: Option<serde_json::Value>,
    /// Output of the release phase, if there was one.
    pub output_stream_url: Option<String>,
    /// The image it runs; null before the first push. Ours, not Heroku's.
    pub image: Option<Digest>,
    /// The commit it was built from. Ours, not Heroku's.
    pub commit: Option<CommitId>,
    /// Which version of the config vars it runs with. Ours, not Heroku's.
    pub config_version: u64,
    /// Process types and their commands. Ours, not Heroku's.
    pub process_types: BTreeMap<ProcessType, String>,
    /// Why it failed, for the user. Ours, not Heroku's.
    pub failure: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// How the move to a release went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseStatus {
    Pending,
    Succeeded,
    Failed,
}

/// `POST /apps/{app}/releases`: rolls back to (a copy of) an earlier release.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rollback {
    /// Id or version (`3`, `v3`) of the release to copy.
    pub release: String,
}
