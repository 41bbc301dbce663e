//! Config vars: the rules for a change, and their way into and out of the database.

use fairway_api::{
    accounts::UserRef,
    config_vars::{CONFIG_BYTES_MAX, CONFIG_NAMES_RESERVED, ConfigPatch},
    ids::AppId,
    names::ConfigName,
    secret::Secret,
};

pub use fairway_api::config_vars::ConfigVars;

use crate::{
    deploy,
    problem::{Answer, Problem},
    secrets::{Secrets, SecretsError},
    store::{Db, StoreError, apps, columns::now, config_vars, events},
};

/// Why config vars could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigVarsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("open the config vars")]
    Secrets(#[from] SecretsError),
    #[error("read the config vars")]
    Json(#[from] serde_json::Error),
}

impl From<ConfigVarsError> for Problem {
    fn from(error: ConfigVarsError) -> Self {
        match error {
            ConfigVarsError::Store(error) => error.into(),
            error => Self::fault(error),
        }
    }
}

/// One version of an app's config vars, opened.
pub async fn load(
    secrets: &Secrets,
    db: &mut Db,
    app: AppId,
    version: u64,
) -> Result<ConfigVars, ConfigVarsError> {
    let sealed = config_vars::get(db, app, version).await?;
    Ok(serde_json::from_slice(
        &secrets.open_sealed(&sealed, &context(app, version))?,
    )?)
}

/// Keeps a new version.
pub async fn insert(
    secrets: &Secrets,
    db: &mut Db,
    app: AppId,
    version: u64,
    vars: &ConfigVars,
) -> Result<(), ConfigVarsError> {
    let sealed = secrets.seal(&serde_json::to_vec(vars)?, &context(app, version));
    Ok(config_vars::insert(db, app, version, &sealed, now()).await?)
}

fn context(app: AppId, version: u64) -> String {
    format!("config/{app}/{version}")
}

/// Sets and unsets vars in one release. The caller commits and wakes the reconcile loop. Changes
/// nothing, and makes no release, when all values are what they were.
pub async fn update(
    secrets: &Secrets,
    db: &mut Db,
    app: AppId,
    patch: ConfigPatch,
    user: &UserRef,
) -> Answer<ConfigVars> {
    let row = apps::get(db, app).await?;
    let before = load(secrets, db, app, row.config_version).await?;
    let Some(change) = change(&before, patch)? else {
        return Ok(before);
    };
    let (version, now) = (row.config_version + 1, now());
    insert(secrets, db, app, version, &change.vars).await?;
    apps::set_config_version(db, app, version, now).await?;
    let description = &change.description;
    deploy::release_from_config(db, &row, version, description, user, now).await?;
    let message = format!("{description}.");
    events::record(
        db,
        Some(&row.app()),
        user.email.as_str(),
        "config.changed",
        &message,
    )
    .await?;
    Ok(change.vars)
}

/// What a patch makes of config vars.
#[derive(Debug)]
struct Change {
    vars: ConfigVars,
    /// For the release: names, never values.
    description: String,
}

/// Applies a patch by the rules; `None` when it changes nothing.
fn change(before: &ConfigVars, patch: ConfigPatch) -> Answer<Option<Change>> {
    let mut vars = before.clone();
    let (mut set, mut unset) = (Vec::new(), Vec::new());
    for (name, value) in patch {
        match value {
            Some(value) => {
                check(&name, &value)?;
                if vars.get(&name) != Some(&value) {
                    set.push(name.to_string());
                    vars.insert(name, value);
                }
            }
            None => {
                if vars.remove(&name).is_some() {
                    unset.push(name.to_string());
                }
            }
        }
    }
    if set.is_empty() && unset.is_empty() {
        return Ok(None);
    }
    let bytes: usize = vars
        .iter()
        .map(|(name, value)| name.as_str().len() + value.expose().len())
        .sum();
    if bytes > CONFIG_BYTES_MAX && !set.is_empty() {
        return Err(Problem::invalid(format!(
            "Config vars would have {bytes} bytes in all; the limit is {CONFIG_BYTES_MAX}."
        ))
        .hint("Keep large values in a file or a store of their own, and set where it is."));
    }
    Ok(Some(Change {
        vars,
        description: describe(&set, &unset),
    }))
}

fn check(name: &ConfigName, value: &Secret) -> Answer<()> {
    if CONFIG_NAMES_RESERVED.contains(&name.as_str()) {
        return Err(
            Problem::invalid(format!("{name} is set by Fairway and cannot be changed."))
                .hint("Use another name."),
        );
    }
    if value.expose().contains('\0') {
        return Err(
            Problem::invalid(format!("The value of {name} contains a NUL character.")).hint(
                "Environment variables cannot hold one; encode the value, for example in base64.",
            ),
        );
    }
    Ok(())
}

/// How many names a description lists before it counts the rest.
const NAMES_LISTED_MAX: usize = 5;

fn describe(set: &[String], unset: &[String]) -> String {
    let list = |names: &[String]| {
        let mut text = names
            .iter()
            .take(NAMES_LISTED_MAX)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        if names.len() > NAMES_LISTED_MAX {
            text += &format!(" and {} more", names.len() - NAMES_LISTED_MAX);
        }
        format!(
            "{text} config var{}",
            if names.len() == 1 { "" } else { "s" }
        )
    };
    match (set, unset) {
        (set, []) => format!("Set {}", list(set)),
        ([], unset) => format!("Unset {}", list(unset)),
        (set, unset) => format!("Set {}, unset {}", list(set), list(unset)),
    }
}

#[cfg(test)]
mod tests;
