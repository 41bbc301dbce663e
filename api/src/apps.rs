//! Apps (Platform API: `app`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    accounts::UserRef,
    ids::AppId,
    names::{AppName, BranchName},
};

/// The most apps one account may own. Guards the database against a runaway script.
pub const APPS_PER_ACCOUNT_MAX: u32 = 1_000;

/// `GET /apps/{id_or_name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    pub id: AppId,
    pub name: AppName,
    pub owner: UserRef,
    /// While on, the router answers every request with the maintenance page.
    pub maintenance: bool,
    /// The branch whose pushes deploy; without it `main` and `master` both do. Ours, not Heroku's.
    pub deploy_branch: Option<BranchName>,
    /// Where to `git push`, over HTTP.
    pub git_url: String,
    /// Where to `git push`, over SSH. Ours, not Heroku's.
    pub git_ssh_url: String,
    /// Where the app answers.
    pub web_url: String,
    pub region: Named,
    pub stack: Named,
    pub build_stack: Named,
    /// Bytes of the app's git repository after the last push; null before the first.
    pub repo_size: Option<u64>,
    /// Bytes of the current release's image, compressed.
    pub slug_size: Option<u64>,
    pub buildpack_provided_description: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub released_at: Option<DateTime<Utc>>,
    pub archived_at: Option<DateTime<Utc>>,
}

/// A thing that the Platform API names by id and name (region, stack) and of which Fairway has a
/// fixed set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub id: uuid::Uuid,
    pub name: String,
}

/// The short form in which other resources name an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRef {
    pub id: AppId,
    pub name: AppName,
}

/// `POST /apps`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct NewApp {
    /// Without it a free name is made up.
    pub name: Option<AppName>,
}

/// `PATCH /apps/{id_or_name}`. Absent fields stay as they are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AppPatch {
    pub name: Option<AppName>,
    pub maintenance: Option<bool>,
    /// `null`, which is not the same as absent: `main` and `master` deploy again.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    pub deploy_branch: Option<Option<BranchName>>,
}

/// Reads a field that is there, be it `null`.
fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}
