//! From an image, a config or an older release to a new release and its deployment.
//!
//! Each function works in the caller's transaction, so that what caused the release (a build's
//! result, a version of the config vars) and the release stand or fall together. After the commit
//! the caller wakes the reconcile loop.

use chrono::{DateTime, Utc};
use fairway_api::{
    accounts::UserRef, build_orders::BuiltImage, ids::ReleaseId, releases::ReleaseStatus,
};

use crate::store::{
    Db, StoreError,
    apps::{self, AppRow},
    builds::{self, BuildRow},
    releases::{self, ReleaseRow},
};

/// Why a release could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The user asked for something that cannot be; the text is for the user.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The release of a build that has just succeeded, with the app's newest config vars.
pub async fn release_from_build(
    db: &mut Db,
    build: &BuildRow,
    image: &BuiltImage,
    now: DateTime<Utc>,
) -> Result<ReleaseRow, StoreError> {
    let app = apps::get(db, build.app).await?;
    let short: String = build.source.id.as_str().chars().take(8).collect();
    let release = ReleaseRow {
        id: ReleaseId::generate(),
        app: app.id,
        version: apps::next_release_version(db, app.id).await?,
        description: format!("Deploy {short}"),
        status: ReleaseStatus::Pending,
        failure: None,
        user: build.user.clone(),
        build: Some(build.id),
        image: Some(image.clone()),
        commit: Some(build.source.id.clone()),
        config_version: app.config_version,
        created_at: now,
        updated_at: now,
    };
    releases::insert(db, &release).await?;
    builds::set_release(db, build.id, release.id).await?;
    Ok(release)
}

/// The release of changed config vars: the current release's image with the new version. Before the
/// first push it has no image and is live at once, since there is nothing to run.
pub async fn release_from_config(
    db: &mut Db,
    app: &AppRow,
    config_version: u64,
    description: &str,
    user: &UserRef,
    now: DateTime<Utc>,
) -> Result<ReleaseRow, StoreError> {
    let current = match app.current_release {
        Some(id) => Some(releases::get(db, id).await?),
        None => None,
    };
    let image = current.as_ref().and_then(|release| release.image.clone());
    let release = ReleaseRow {
        id: ReleaseId::generate(),
        app: app.id,
        version: apps::next_release_version(db, app.id).await?,
        description: description.into(),
        status: if image.is_some() {
            ReleaseStatus::Pending
        } else {
            ReleaseStatus::Succeeded
        },
        failure: None,
        user: user.clone(),
        build: current.as_ref().and_then(|release| release.build),
        commit: current.as_ref().and_then(|release| release.commit.clone()),
        image,
        config_version,
        created_at: now,
        updated_at: now,
    };
    releases::insert(db, &release).await?;
    if release.image.is_none() {
        apps::set_current_release(db, app.id, release.id, now).await?;
    }
    Ok(release)
}

/// A new release that copies image and config of an older one.
pub async fn roll_back(
    db: &mut Db,
    app: &AppRow,
    to: &ReleaseRow,
    user: &UserRef,
    now: DateTime<Utc>,
) -> Result<ReleaseRow, DeployError> {
    if to.image.is_none() {
        return Err(DeployError::Refused(format!(
            "v{} has no image to run.",
            to.version
        )));
    }
    let release = ReleaseRow {
        id: ReleaseId::generate(),
        version: apps::next_release_version(db, app.id).await?,
        description: format!("Rollback to v{}", to.version),
        status: ReleaseStatus::Pending,
        failure: None,
        user: user.clone(),
        created_at: now,
        updated_at: now,
        ..to.clone()
    };
    releases::insert(db, &release).await?;
    Ok(release)
}
