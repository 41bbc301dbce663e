//! Naming releases and going back to one.

use fairway_api::ids::AppId;

use crate::{
    auth::Caller,
    deploy,
    problem::{Answer, Problem},
    secrets::Secrets,
    store::{
        Db,
        apps::{self, AppRow},
        columns::now,
        events,
        releases::{self, ReleaseRow},
    },
};

/// One of an app's releases by what people call it: its id, `7` or `v7`, or `current`.
pub async fn find(db: &mut Db, app: &AppRow, which: &str) -> Answer<ReleaseRow> {
    if which == "current" {
        let current = app
            .current_release
            .ok_or_else(|| Problem::not_found("release"))?;
        return Ok(releases::get(db, current).await?);
    }
    if let Ok(id) = which.parse() {
        return Ok(releases::of_app(db, app.id, id).await?);
    }
    let version = which
        .strip_prefix('v')
        .unwrap_or(which)
        .parse()
        .map_err(|_| Problem::not_found("release").hint("Name it by its version, like v7."))?;
    Ok(releases::by_version(db, app.id, version).await?)
}

/// Makes a new release from an earlier one. The caller commits and wakes the reconcile loop.
pub async fn roll_back(
    secrets: &Secrets,
    db: &mut Db,
    app: AppId,
    to: &ReleaseRow,
    caller: &Caller,
) -> Answer<ReleaseRow> {
    let app = apps::get(db, app).await?;
    if app.current_release == Some(to.id) {
        return Err(
            Problem::invalid(format!("v{} is the current release.", to.version))
                .hint("Name an earlier one; `app releases` lists them."),
        );
    }
    let release = deploy::roll_back(secrets, db, &app, to, &caller.user(), now()).await?;
    let message = format!("v{} was made from v{}.", release.version, to.version);
    let actor = caller.account.email.as_str();
    events::record(db, Some(&app.app()), actor, "release.rollback", &message).await?;
    Ok(release)
}
