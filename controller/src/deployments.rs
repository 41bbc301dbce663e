//! Deployments as people see them, and what they may ask of one that is under way.

use fairway_api::{
    deployments::{DeployedRelease, Deployment, Strategy, Wish, WishKind},
    ids::DeploymentId,
};
use fairway_scheduler::snapshot::{self, DeploymentState};

use crate::{
    auth::Caller,
    config_vars,
    problem::{Answer, Problem},
    secrets::Secrets,
    store::{
        Db,
        apps::{self, AppRow},
        columns::now,
        deployments::{self, DeploymentRow},
        events, releases,
    },
};

/// A deployment as users see it.
pub async fn shown(db: &mut Db, row: DeploymentRow) -> Answer<Deployment> {
    let release = releases::get(db, row.release).await?;
    let planned = planned(&row);
    Ok(Deployment {
        id: row.id,
        release: DeployedRelease {
            id: release.id,
            version: release.version,
        },
        state: row.state.word().into(),
        detail: detail(&row, release.version),
        actions: planned.actions(),
        strategy: row.strategy,
        wish: row.wish,
        deadline_at: row.deadline_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// The row in the planner's words.
fn planned(row: &DeploymentRow) -> snapshot::Deployment {
    snapshot::Deployment {
        id: row.id,
        release: row.release,
        from_push: row.build.is_some(),
        strategy: row.strategy.clone(),
        wish: row.wish.clone(),
        state: row.state.clone(),
        deadline_at: row.deadline_at,
    }
}

/// One sentence on where a deployment stands.
fn detail(row: &DeploymentRow, version: u64) -> String {
    let percent = |step: u32| {
        let steps = row.strategy.steps();
        let step = usize::try_from(step).ok().and_then(|step| steps.get(step));
        step.map_or(100, |step| step.percent)
    };
    match &row.state {
        DeploymentState::Queued => "It waits for the deployment before it.".into(),
        DeploymentState::ReleasePhase { .. } => "Its release command runs.".into(),
        DeploymentState::Starting => "Its pods start beside the old ones.".into(),
        DeploymentState::Rolling { replaced } => format!("{replaced} of its pods are up."),
        DeploymentState::RollingBack { failure, .. } => {
            format!("The old pods come back: {}.", failure.reason)
        }
        DeploymentState::CanaryStarting { step, .. } => {
            format!("Its pods start for {}% of the requests.", percent(*step))
        }
        DeploymentState::Canary { step } => {
            format!("{}% of the requests go to v{version}.", percent(*step))
        }
        DeploymentState::Paused { resumes, .. } => {
            let by = row.wish.as_ref().map_or("somebody", |wish| &wish.by);
            format!("{by} paused it in the state {}.", resumes.word())
        }
        DeploymentState::Switching { .. } => "Routers get the new table.".into(),
        DeploymentState::Baking { .. } => {
            format!("v{version} serves; the old web pods are kept for a revert.")
        }
        DeploymentState::Succeeded => format!("v{version} is live."),
        DeploymentState::Failed { failure } => format!("v{version} failed: {}.", failure.reason),
        DeploymentState::Reverted { to } => format!("It was taken back: v{to} serves again."),
        DeploymentState::Superseded { by } => format!("v{by} took its place."),
    }
}

/// One of an app's deployments by its id, or `current`: the newest that is under way.
pub async fn find(db: &mut Db, app: &AppRow, which: &str) -> Answer<DeploymentRow> {
    if which == "current" {
        let open = deployments::open_of(db, app.id).await?;
        let active = open.iter().find(|it| it.state.is_active());
        return active.or(open.last()).cloned().ok_or_else(|| {
            Problem::not_found("deployment")
                .hint(format!("No deployment of {} is under way.", app.name))
        });
    }
    let id: DeploymentId = which
        .parse()
        .map_err(|_| Problem::not_found("deployment"))?;
    Ok(deployments::of_app(db, app.id, id).await?)
}

/// Asks something of a deployment. The caller commits and wakes the reconcile loop, which does it.
pub async fn ask(
    secrets: &Secrets,
    db: &mut Db,
    app: &AppRow,
    row: &DeploymentRow,
    kind: WishKind,
    caller: &Caller,
) -> Answer<DeploymentRow> {
    let release = releases::get(db, row.release).await?;
    let may = planned(row).actions();
    if !may.contains(&kind) {
        let words: Vec<_> = may.iter().map(|it| it.word()).collect();
        let problem = Problem::conflict(format!(
            "The deployment of v{} is {}: there is nothing to {kind}.",
            release.version,
            row.state.word()
        ));
        return Err(match &words[..] {
            [] => problem.hint("`app deploy` shows where it stands."),
            words => problem.hint(format!("Possible now: {}.", words.join(", "))),
        });
    }
    let by = caller.account.email.to_string();
    let message = format!(
        "{kind} was asked of the deployment of v{}.",
        release.version
    );
    events::record(db, Some(&app.app()), &by, "deployment.asked", &message).await?;
    if let (DeploymentState::Baking { warm }, WishKind::Abort) = (&row.state, kind) {
        let to = releases::get(db, *warm).await?;
        take_back_config(secrets, db, app, to.config_version).await?;
    }
    let wish = (kind != WishKind::Resume).then_some(Wish { kind, by });
    deployments::set_wish(db, row.id, wish.as_ref()).await?;
    Ok(deployments::of_app(db, app.id, row.id).await?)
}

/// Makes the config vars of an older version the newest ones, so that what `config` shows is what
/// runs.
async fn take_back_config(
    secrets: &Secrets,
    db: &mut Db,
    app: &AppRow,
    version: u64,
) -> Answer<()> {
    let app = apps::get(db, app.id).await?;
    if app.config_version == version {
        return Ok(());
    }
    let vars = config_vars::load(secrets, db, app.id, version).await?;
    let newest = app.config_version + 1;
    config_vars::insert(secrets, db, app.id, newest, &vars).await?;
    apps::set_config_version(db, app.id, newest, now()).await?;
    Ok(())
}

/// How an app's next deployments go: as somebody has chosen, else as the release that serves says
/// (a push may bring another).
pub async fn strategy(db: &mut Db, app: &AppRow) -> Answer<Strategy> {
    if let Some(chosen) = apps::strategy(db, app.id).await? {
        return Ok(chosen);
    }
    let image = match app.current_release {
        Some(release) => releases::get(db, release).await?.image,
        None => None,
    };
    let asked = image.and_then(|image| image.strategy);
    Ok(asked.map(|asked| *asked).unwrap_or_default())
}

/// Leaves it to releases again how deployments go.
pub async fn unset_strategy(db: &mut Db, app: &AppRow, caller: &Caller) -> Answer<()> {
    apps::set_strategy(db, app.id, None).await?;
    let message = "Deployments go as app.json says.";
    let actor = caller.account.email.as_str();
    events::record(db, Some(&app.app()), actor, "deployment.strategy", message).await?;
    Ok(())
}

/// Sets how an app's next deployments go; one under way goes on as it began.
pub async fn set_strategy(
    db: &mut Db,
    app: &AppRow,
    strategy: &Strategy,
    caller: &Caller,
) -> Answer<()> {
    strategy
        .check()
        .map_err(|error| Problem::invalid(format!("This is no strategy: {error}.")))?;
    apps::set_strategy(db, app.id, Some(strategy)).await?;
    let message = format!("Deployments go: {strategy}.");
    let actor = caller.account.email.as_str();
    events::record(db, Some(&app.app()), actor, "deployment.strategy", &message).await?;
    Ok(())
}
