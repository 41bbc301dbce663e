//! Naming releases and going back to one.

use fairway_api::{deployments::WishKind, ids::AppId};
use fairway_scheduler::snapshot::DeploymentState;

use crate::{
    auth::Caller,
    deploy, deployments,
    problem::{Answer, Problem},
    secrets::Secrets,
    store::{
        Db,
        apps::{self, AppRow},
        columns::now,
        deployments::{self as store_deployments, DeploymentRow},
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
    // Its pods are still up: they get the requests back, and no new release is needed.
    let open = store_deployments::open_of(db, app.id).await?;
    let warm = |it: &&DeploymentRow| it.state == DeploymentState::Baking { warm: to.id };
    let aborted =
        |it: &DeploymentRow| matches!(&it.wish, Some(wish) if wish.kind == WishKind::Abort);
    if let Some(baking) = open.iter().find(warm).filter(|it| !aborted(it)) {
        let abort = WishKind::Abort;
        deployments::ask(secrets, db, &app, baking, abort, caller).await?;
        return Ok(to.clone());
    }
    let release = deploy::roll_back(secrets, db, &app, to, &caller.user(), now()).await?;
    let message = format!("v{} was made from v{}.", release.version, to.version);
    let actor = caller.account.email.as_str();
    events::record(db, Some(&app.app()), actor, "release.rollback", &message).await?;
    Ok(release)
}
