//! Config vars that pods have as files: in memory, read-only, and not in their environment.

use fairway_api::{
    config_vars::{ConfigFile, ConfigFileChange, ConfigPatch, ConfigVars, SetConfigFile},
    names::ConfigName,
    pods::FILES_DIR,
};

use super::{record, take_effect};
use crate::{
    auth::Caller,
    config_vars,
    problem::{Answer, Problem},
    secrets::Secrets,
    store::{
        Db,
        apps::{self, AppRow},
        columns::now,
        config_files,
    },
};

/// An app's config files.
pub async fn list(secrets: &Secrets, db: &mut Db, app: &AppRow) -> Answer<Vec<ConfigFile>> {
    let vars = config_vars::load(secrets, db, app.id, app.config_version).await?;
    let names = config_files::list(db, app.id).await?;
    Ok(names.iter().map(|name| shown(name, &vars)).collect())
}

fn shown(name: &ConfigName, vars: &ConfigVars) -> ConfigFile {
    ConfigFile {
        name: name.clone(),
        path: format!("{FILES_DIR}/{name}"),
        is_set: vars.contains_key(name),
    }
}

/// Makes a config var a file. The caller commits and wakes the reconcile loop.
pub async fn set(
    secrets: &Secrets,
    db: &mut Db,
    app: &AppRow,
    name: &ConfigName,
    set: SetConfigFile,
    caller: &Caller,
) -> Answer<ConfigFileChange> {
    let before = config_vars::load(secrets, db, app.id, app.config_version).await?;
    if set.value.is_none() && !before.contains_key(name) {
        return Err(Problem::not_found("config var").hint(format!(
            "Give its value: app config:mount {name} --from FILE"
        )));
    }
    let new = config_files::insert(db, app.id, name, now()).await?;
    let changed = set.value.is_some() && set.value.as_ref() != before.get(name);
    let release = if changed {
        // The release of the value brings the file along.
        let patch = ConfigPatch::from([(name.clone(), set.value)]);
        config_vars::update(secrets, db, app.id, patch, &caller.user()).await?;
        Some(apps::get(db, app.id).await?.last_release_version)
    } else if new {
        take_effect(db, app, &format!("Make {name} config var a file"), caller).await?
    } else {
        None
    };
    if new {
        let message = format!("{name} is a file from now on.");
        record(db, app, caller, "config.file", &message).await?;
    }
    let file = ConfigFile {
        is_set: true,
        ..shown(name, &before)
    };
    Ok(ConfigFileChange { file, release })
}

/// Makes it an environment variable again. The same for who commits.
pub async fn unset(
    secrets: &Secrets,
    db: &mut Db,
    app: &AppRow,
    name: &ConfigName,
    caller: &Caller,
) -> Answer<ConfigFileChange> {
    if !config_files::delete(db, app.id, name).await? {
        return Err(Problem::not_found("config file").hint(
            "`app config:files` lists them; config vars are set and unset with `app config`.",
        ));
    }
    let what = format!("Make {name} config var an environment variable");
    let release = take_effect(db, app, &what, caller).await?;
    let message = format!("{name} is an environment variable from now on.");
    record(db, app, caller, "config.file", &message).await?;
    let vars = config_vars::load(secrets, db, app.id, app.config_version).await?;
    let file = shown(name, &vars);
    Ok(ConfigFileChange { file, release })
}
