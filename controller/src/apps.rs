//! Making, renaming and destroying apps: what has to happen together.

use fairway_api::{
    accounts::UserRef,
    apps::{APPS_PER_ACCOUNT_MAX, AppPatch, AppRef},
    domains::DomainKind,
    ids::{AppId, DomainId},
    names::{AppName, BranchName, Hostname},
};

use crate::{
    auth::Caller,
    config_vars,
    problem::{Answer, Problem},
    state::AppState,
    store::{
        Db, StoreError, WriteTx,
        apps::{self, AppRow},
        columns::now,
        domains::{self, DomainRow},
        events,
    },
    volumes,
};

/// Names that would shadow a path of the API port, where git repositories stand at `/NAME.git` and
/// may one day stand at `/NAME`, or a hostname that operators expect to have.
const APP_NAMES_RESERVED: [&str; 14] = [
    "account",
    "admin",
    "api",
    "apps",
    "assets",
    "dashboard",
    "dyno-sizes",
    "fairway",
    "internal",
    "login",
    "logout",
    "oauth",
    "streams",
    "users",
];
/// Made-up names tried before giving up; with 10,000 numbers a second try is rare already.
const NAME_TRIES_MAX: usize = 20;

const ADJECTIVES: [&str; 16] = [
    "amber", "bold", "brisk", "calm", "clear", "deep", "fair", "gentle", "keen", "light", "quiet",
    "steady", "still", "sunny", "swift", "warm",
];
const NOUNS: [&str; 16] = [
    "anchor", "bay", "beacon", "breeze", "buoy", "channel", "coast", "harbor", "haven", "island",
    "lagoon", "pier", "reef", "river", "sound", "tide",
];

/// Makes an app for `owner`; without a name, a free one is made up. The caller commits.
pub async fn create(
    state: &AppState,
    tx: &mut WriteTx,
    owner: &UserRef,
    name: Option<AppName>,
) -> Answer<AppRow> {
    if apps::count(tx, owner.id).await? >= i64::from(APPS_PER_ACCOUNT_MAX) {
        return Err(Problem::invalid(format!(
            "You have reached the limit of {APPS_PER_ACCOUNT_MAX} apps."
        ))
        .hint("Destroy an app that you no longer need, or ask an admin."));
    }
    let name = match name {
        Some(name) => name,
        None => free_name(tx).await?,
    };
    let hostname = built_in_hostname(state, &name)?;
    let now = now();
    let app = AppRow {
        id: AppId::generate(),
        name,
        owner: owner.clone(),
        maintenance: false,
        deploy_branch: None,
        config_version: 1,
        current_release: None,
        last_release_version: 0,
        created_at: now,
        updated_at: now,
        released_at: None,
        repository_bytes: None,
    };
    apps::insert(tx, &app)
        .await
        .map_err(|error| taken(error, &app.name))?;
    config_vars::insert(
        &state.secrets,
        tx,
        app.id,
        1,
        &config_vars::ConfigVars::new(),
    )
    .await?;
    let domain = DomainRow {
        id: DomainId::generate(),
        app: app.id,
        hostname,
        kind: DomainKind::BuiltIn,
        created_at: now,
    };
    domains::insert(tx, &domain)
        .await
        .map_err(|error| taken(error, &app.name))?;
    let message = format!("App {} was created.", app.name);
    events::record(
        tx,
        Some(&app.app()),
        owner.email.as_str(),
        "app.created",
        &message,
    )
    .await?;
    Ok(app)
}

/// Changes what `patch` names. The caller commits and wakes the reconcile loop.
pub async fn update(
    state: &AppState,
    tx: &mut WriteTx,
    app: AppId,
    patch: AppPatch,
    caller: &Caller,
) -> Answer<AppRow> {
    let before = apps::get(tx, app).await?;
    let mut after = before.clone();
    after.name = patch.name.unwrap_or(after.name);
    after.maintenance = patch.maintenance.unwrap_or(after.maintenance);
    after.deploy_branch = patch.deploy_branch.unwrap_or(after.deploy_branch);
    if after == before {
        return Ok(before);
    }
    after.updated_at = now();
    apps::update(tx, &after)
        .await
        .map_err(|error| taken(error, &after.name))?;
    if after.name != before.name {
        let hostname = built_in_hostname(state, &after.name)?;
        let moved = domains::set_built_in(tx, app, &hostname).await;
        moved.map_err(|error| taken(error, &after.name))?;
    }
    for (kind, message) in changes(&before, &after) {
        let actor = caller.account.email.as_str();
        events::record(tx, Some(&after.app()), actor, kind, &message).await?;
    }
    Ok(after)
}

fn changes(before: &AppRow, after: &AppRow) -> Vec<(&'static str, String)> {
    let mut changes = Vec::new();
    if before.name != after.name {
        let message = format!("App {} was renamed to {}.", before.name, after.name);
        changes.push(("app.renamed", message));
    }
    if before.maintenance != after.maintenance {
        let word = if after.maintenance { "on" } else { "off" };
        changes.push((
            "app.maintenance",
            format!("Maintenance mode was turned {word}."),
        ));
    }
    if before.deploy_branch != after.deploy_branch {
        let branch = after.deploy_branch.as_ref();
        let branch = branch.map_or("main or master", BranchName::as_str);
        changes.push((
            "app.deploy-branch",
            format!("Pushes to {branch} deploy now."),
        ));
    }
    changes
}

/// Destroys an app and everything that belongs to it but its events. The caller commits, then calls
/// [`forget`].
pub async fn destroy(tx: &mut WriteTx, app: &AppRef, actor: &str, message: &str) -> Answer<()> {
    volumes::remove_all(tx, app.id).await?;
    apps::delete(tx, app.id).await?;
    events::record(tx, Some(app), actor, events::APP_DESTROYED, message).await?;
    Ok(())
}

/// Removes what a destroyed app kept in the controller's files, lets go of everybody who waits for
/// its builds, and has the others remove what they keep of it.
pub async fn forget(state: &AppState, app: AppId, builds: Vec<fairway_api::ids::BuildId>) {
    for build in builds {
        state.leases.end(build);
        state.build_output.forget(build).await;
    }
    state.logs.forget(app).await;
    volumes::forget_archives(state, app).await;
    state.builds_changed.ring();
    state.destroyed.ring();
    state.wake.app(app);
    state.wake.volumes();
}

/// Brings built-in hostnames in line with the base domain, which may have changed since the last
/// start.
pub async fn settle_hostnames(state: &AppState) -> Answer<()> {
    let mut tx = state.store.write().await?;
    for app in apps::all(&mut tx).await? {
        let hostname = built_in_hostname(state, &app.name)?;
        if let Err(error) = domains::set_built_in(&mut tx, app.id, &hostname).await {
            tracing::warn!(app = %app.name, %hostname, "cannot take the built-in hostname: {error}");
        }
    }
    Ok(tx.commit().await?)
}

/// The hostname that comes with an app of this name.
fn built_in_hostname(state: &AppState, name: &AppName) -> Answer<Hostname> {
    if APP_NAMES_RESERVED.contains(&name.as_str()) {
        return Err(
            Problem::invalid(format!("The name {name} is reserved.")).hint("Choose another name.")
        );
    }
    format!("{name}.{}", state.config.base_domain)
        .parse()
        .map_err(|error: fairway_api::names::InvalidName| Problem::invalid(error.to_string()))
}

async fn free_name(db: &mut Db) -> Answer<AppName> {
    for _ in 0..NAME_TRIES_MAX {
        let pick = |words: &[&'static str; 16]| words[usize::from(rand::random::<u8>()) % 16];
        let number = rand::random::<u16>() % 10_000;
        let name = format!("{}-{}-{number:04}", pick(&ADJECTIVES), pick(&NOUNS));
        match apps::find(db, &name).await {
            Err(StoreError::NotFound { .. }) => {
                return name
                    .parse()
                    .map_err(|error: fairway_api::names::InvalidName| Problem::fault(error));
            }
            found => drop(found?),
        }
    }
    Err(Problem::conflict("No free name was found.").hint("Name the app yourself."))
}

fn taken(error: StoreError, name: &AppName) -> Problem {
    if error.conflicts_on("apps.name") || error.conflicts_on("domains.hostname") {
        return Problem::conflict(format!("Name {name} is already taken."))
            .hint("Choose another name, or leave it out to get a free one.");
    }
    error.into()
}
