//! Releases.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use fairway_api::{
    accounts::UserRef,
    build_orders::BuiltImage,
    ids::{AppId, BuildId, ReleaseId, VolumeId},
    names::{CommitId, ConfigName, MountPath, ProcessType},
    releases::ReleaseStatus,
};
use serde::{Deserialize, Serialize};
use sqlx::{query, sqlite::SqliteRow};

use super::{
    Db, StoreError,
    columns::{self, Columns, micros, number, word},
    page::Page,
};
use crate::wanted::Candidate;

/// A release as stored. Immutable but for its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseRow {
    pub id: ReleaseId,
    pub app: AppId,
    pub version: u64,
    pub description: String,
    pub status: ReleaseStatus,
    pub failure: Option<String>,
    pub user: UserRef,
    /// The build whose image it runs.
    pub build: Option<BuildId>,
    /// `None` before the first push.
    pub image: Option<BuiltImage>,
    pub commit: Option<CommitId>,
    pub config_version: u64,
    /// What its pods mount.
    pub mounts: Vec<ReleaseMount>,
    /// Which config vars its pods have as files.
    pub config_files: BTreeSet<ConfigName>,
    /// Its image was given up; see [`crate::wanted`].
    pub image_expired: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What the pods of one process type of a release mount. The volume may be gone by now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseMount {
    pub volume: VolumeId,
    pub process_type: ProcessType,
    pub path: MountPath,
    pub read_only: bool,
}

impl ReleaseRow {
    fn read(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            app: row.parsed("app_id")?,
            version: row.number("version")?,
            description: row.text("description")?,
            status: row.word("status")?,
            failure: row.text_opt("failure")?,
            user: UserRef {
                id: row.parsed("user_id")?,
                email: row.parsed("user_email")?,
            },
            build: row.parsed_opt("build_id")?,
            image: row.json_opt("image")?,
            commit: row.parsed_opt("commit_id")?,
            config_version: row.number("config_version")?,
            mounts: row.json_opt("mounts")?.unwrap_or_default(),
            config_files: row.json_opt("config_files")?.unwrap_or_default(),
            image_expired: row.time_opt("image_expired_at")?.is_some(),
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
        })
    }
}

const NOT_FOUND: StoreError = StoreError::NotFound { what: "release" };

/// Adds a release. Its version comes from [`super::apps::next_release_version`].
pub async fn insert(db: &mut Db, release: &ReleaseRow) -> Result<(), StoreError> {
    query(
        "INSERT INTO releases (id, app_id, version, description, status, failure, user_id,
                               build_id, image, commit_id, config_version, mounts, config_files,
                               created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    )
    .bind(release.id.to_string())
    .bind(release.app.to_string())
    .bind(number(release.version))
    .bind(&release.description)
    .bind(word(release.status)?)
    .bind(&release.failure)
    .bind(release.user.id.to_string())
    .bind(release.build.map(|id| id.to_string()))
    .bind(release.image.as_ref().map(columns::json).transpose()?)
    .bind(release.commit.as_ref().map(CommitId::as_str))
    .bind(number(release.config_version))
    .bind(columns::json(&release.mounts)?)
    .bind(columns::json(&release.config_files)?)
    .bind(micros(release.created_at))
    .bind(micros(release.updated_at))
    .execute(db)
    .await?;
    Ok(())
}

/// The release with this id.
pub async fn get(db: &mut Db, id: ReleaseId) -> Result<ReleaseRow, StoreError> {
    let row = query(
        "SELECT releases.*, accounts.email AS user_email FROM releases
         JOIN accounts ON accounts.id = releases.user_id WHERE releases.id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(db)
    .await?;
    row.as_ref().map(ReleaseRow::read).unwrap_or(Err(NOT_FOUND))
}

/// One of an app's releases by id.
pub async fn of_app(db: &mut Db, app: AppId, id: ReleaseId) -> Result<ReleaseRow, StoreError> {
    let release = get(db, id).await?;
    if release.app == app {
        Ok(release)
    } else {
        Err(NOT_FOUND)
    }
}

/// One of an app's releases by version.
pub async fn by_version(db: &mut Db, app: AppId, version: u64) -> Result<ReleaseRow, StoreError> {
    let row = query(
        "SELECT releases.*, accounts.email AS user_email FROM releases
         JOIN accounts ON accounts.id = releases.user_id
         WHERE releases.app_id = $1 AND releases.version = $2",
    )
    .bind(app.to_string())
    .bind(number(version))
    .fetch_optional(db)
    .await?;
    row.as_ref().map(ReleaseRow::read).unwrap_or(Err(NOT_FOUND))
}

/// A page of an app's releases.
pub async fn list(db: &mut Db, app: AppId, page: &Page) -> Result<Vec<ReleaseRow>, StoreError> {
    let sql = page.narrow(
        "SELECT releases.*, accounts.email AS user_email FROM releases
         JOIN accounts ON accounts.id = releases.user_id WHERE releases.app_id = $1",
        1,
    );
    let rows = page
        .bind(query(sql).bind(app.to_string()))
        .fetch_all(db)
        .await?;
    rows.iter().map(ReleaseRow::read).collect()
}

/// The releases that are live now, one per app.
pub async fn current(db: &mut Db) -> Result<Vec<ReleaseRow>, StoreError> {
    let rows = query(
        "SELECT releases.*, accounts.email AS user_email FROM apps
         JOIN releases ON releases.id = apps.current_release_id
         JOIN accounts ON accounts.id = releases.user_id ORDER BY releases.app_id",
    )
    .fetch_all(db)
    .await?;
    rows.iter().map(ReleaseRow::read).collect()
}

/// Every release whose image is kept so far, app by app, newest first.
pub async fn with_image(db: &mut Db) -> Result<Vec<Candidate>, StoreError> {
    let rows = query(
        "SELECT releases.id, releases.app_id, releases.status, releases.image,
                COALESCE(releases.id = apps.current_release_id, FALSE)
                OR EXISTS (SELECT 1 FROM pods WHERE pods.release_id = releases.id)
                OR EXISTS (SELECT 1 FROM runs
                           WHERE runs.release_id = releases.id AND runs.state = 'running')
                OR EXISTS (SELECT 1 FROM deployments d
                           WHERE d.release_id = releases.id
                             AND d.state IN ('queued', 'release-phase', 'starting', 'switching'))
                AS in_use
         FROM releases JOIN apps ON apps.id = releases.app_id
         WHERE releases.image IS NOT NULL AND releases.image_expired_at IS NULL
         ORDER BY releases.app_id, releases.version DESC",
    )
    .fetch_all(db)
    .await?;
    let candidate = |row: &SqliteRow| {
        let image: BuiltImage = row.json("image")?;
        Ok(Candidate {
            id: row.parsed("id")?,
            app: row.parsed("app_id")?,
            image: image.image.digest,
            beside: image
                .sidecars
                .containers
                .into_iter()
                .map(|it| it.image.digest)
                .collect(),
            status: row.word("status")?,
            in_use: row.flag("in_use")?,
        })
    };
    rows.iter().map(candidate).collect()
}

/// Notes that the images of these releases are given up.
pub async fn expire_images(
    db: &mut Db,
    releases: &[ReleaseId],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    for id in releases {
        query("UPDATE releases SET image_expired_at = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(micros(now))
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

/// Says how the move to a release went. Only a pending release can end.
pub async fn end(
    db: &mut Db,
    id: ReleaseId,
    status: ReleaseStatus,
    failure: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    query(
        "UPDATE releases SET status = $2, failure = $3, updated_at = $4
         WHERE id = $1 AND status = 'pending'",
    )
    .bind(id.to_string())
    .bind(word(status)?)
    .bind(failure)
    .bind(micros(now))
    .execute(db)
    .await?;
    Ok(())
}
