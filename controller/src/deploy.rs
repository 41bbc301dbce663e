//! From an image, a config or an older release to a new release and its deployment, and at the end
//! of the deployment to the pusher's verdict.
//!
//! The functions that make a release work in the caller's transaction, so that what caused it (a
//! build's result, a version of the config vars), the release and its deployment stand or fall
//! together. After the commit the caller wakes the reconcile loop, which does the rest; nothing in
//! here waits for it.

pub mod one_off;
pub mod output;
pub mod spec;

mod verdict;

use chrono::{DateTime, Utc};
use fairway_api::{
    accounts::UserRef,
    build_orders::BuiltImage,
    ids::{DeploymentId, ReleaseId},
    releases::ReleaseStatus,
};
use fairway_scheduler::snapshot::DeploymentState;

use crate::{
    config_vars::{self, ConfigVarsError},
    secrets::Secrets,
    store::{
        Db, StoreError,
        apps::{self, AppRow},
        builds::{self, BuildRow},
        config_files,
        deployments::{self, DeploymentRow},
        releases::{self, ReleaseRow},
        volumes,
    },
};

pub(crate) use verdict::tell_pushers;

/// Why a release could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The user asked for something that cannot be; the text is for the user.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Config(#[from] ConfigVarsError),
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
        mounts: volumes::mounts_of(db, app.id).await?,
        config_files: config_files::list(db, app.id).await?,
        image_expired: false,
        created_at: now,
        updated_at: now,
    };
    releases::insert(db, &release).await?;
    builds::set_release(db, build.id, release.id).await?;
    enqueue(db, &release, Some(build), now).await?;
    Ok(release)
}

/// The release of changed config vars: the image that the app runs, or is on its way to, with the
/// new version. Before the first push it has no image and is live at once, since there is nothing
/// to run.
pub async fn release_from_config(
    db: &mut Db,
    app: &AppRow,
    config_version: u64,
    description: &str,
    user: &UserRef,
    now: DateTime<Utc>,
) -> Result<ReleaseRow, StoreError> {
    // A push that is under way would otherwise be undone by a config change that comes after it.
    let underway = deployments::newest_open(db, app.id).await?;
    let base = match underway.or(app.current_release) {
        Some(id) => Some(releases::get(db, id).await?),
        None => None,
    };
    let runs = base.as_ref().is_some_and(|base| base.image.is_some());
    let release = ReleaseRow {
        id: ReleaseId::generate(),
        app: app.id,
        version: apps::next_release_version(db, app.id).await?,
        description: description.into(),
        status: if runs {
            ReleaseStatus::Pending
        } else {
            ReleaseStatus::Succeeded
        },
        failure: None,
        user: user.clone(),
        build: base.as_ref().and_then(|base| base.build),
        commit: base.as_ref().and_then(|base| base.commit.clone()),
        image: base.and_then(|base| base.image),
        config_version,
        mounts: volumes::mounts_of(db, app.id).await?,
        config_files: config_files::list(db, app.id).await?,
        image_expired: false,
        created_at: now,
        updated_at: now,
    };
    releases::insert(db, &release).await?;
    if runs {
        enqueue(db, &release, None, now).await?;
    } else {
        apps::set_current_release(db, app.id, release.id, now).await?;
    }
    Ok(release)
}

/// Config vars that were set while a push was under way went into a release with that push's image.
/// If both failed, the vars have not been tried with the image that serves: that is done now, so
/// that somebody's bad push does not lose somebody else's change.
pub(crate) async fn rescue_config(
    db: &mut Db,
    failed: &ReleaseRow,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let Some(build) = failed.build else {
        return Ok(());
    };
    let Some(pushed) = builds::get(db, build).await?.release else {
        return Ok(());
    };
    let push_failed = releases::get(db, pushed).await?.status == ReleaseStatus::Failed;
    let newest = deployments::newest_open(db, failed.app).await?;
    // A deployment that still waits brings the newest vars along.
    if pushed == failed.id || !push_failed || newest.is_some() {
        return Ok(());
    }
    let app = apps::get(db, failed.app).await?;
    let (version, description) = (app.config_version, &failed.description);
    release_from_config(db, &app, version, description, &failed.user, now).await?;
    Ok(())
}

/// Whether a release can be made from this one again.
pub fn can_return_to(release: &ReleaseRow) -> Result<(), DeployError> {
    let version = release.version;
    if release.image.is_none() {
        return Err(DeployError::Refused(format!(
            "v{version} has no image to run."
        )));
    }
    if release.status == ReleaseStatus::Failed {
        return Err(DeployError::Refused(format!(
            "v{version} failed when it was deployed; it never ran."
        )));
    }
    if release.image_expired {
        return Err(DeployError::Refused(format!(
            "The image of v{version} is no longer kept: it is too old. Roll back to a newer \
             release, or push its commit again."
        )));
    }
    Ok(())
}

/// A new release that copies image and config vars of an older one. The config vars become a new
/// version too, so that what `config` shows is what runs.
pub async fn roll_back(
    secrets: &Secrets,
    db: &mut Db,
    app: &AppRow,
    to: &ReleaseRow,
    user: &UserRef,
    now: DateTime<Utc>,
) -> Result<ReleaseRow, DeployError> {
    can_return_to(to)?;
    let config_version = if to.config_version == app.config_version {
        app.config_version
    } else {
        let vars = config_vars::load(secrets, db, app.id, to.config_version).await?;
        let version = app.config_version + 1;
        config_vars::insert(secrets, db, app.id, version, &vars).await?;
        apps::set_config_version(db, app.id, version, now).await?;
        version
    };
    let release = ReleaseRow {
        id: ReleaseId::generate(),
        version: apps::next_release_version(db, app.id).await?,
        config_version,
        // Data does not go back with the code: a release from before a volume would run without it.
        mounts: volumes::mounts_of(db, app.id).await?,
        config_files: config_files::list(db, app.id).await?,
        description: format!("Rollback to v{}", to.version),
        status: ReleaseStatus::Pending,
        failure: None,
        user: user.clone(),
        created_at: now,
        updated_at: now,
        ..to.clone()
    };
    releases::insert(db, &release).await?;
    enqueue(db, &release, None, now).await?;
    Ok(release)
}

/// Begins the way to a release, by the strategy that somebody has chosen for the app, else by its
/// own; `build` is the push that somebody
/// waits for, if there is one.
async fn enqueue(
    db: &mut Db,
    release: &ReleaseRow,
    build: Option<&BuildRow>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let asked = release.image.as_ref().and_then(|it| it.strategy.clone());
    let deployment = DeploymentRow {
        id: DeploymentId::generate(),
        app: release.app,
        release: release.id,
        build: build.map(|build| build.id),
        strategy: match apps::strategy(db, release.app).await? {
            Some(chosen) => chosen,
            None => asked.map(|asked| *asked).unwrap_or_default(),
        },
        wish: None,
        state: DeploymentState::Queued,
        deadline_at: None,
        created_at: now,
        updated_at: now,
    };
    deployments::insert(db, &deployment).await
}
