//! Rules between apps on the pod network, and names of things outside.

use fairway_api::{
    apps::AppRef,
    ids::AdmissionId,
    names::ServiceName,
    network::{ExternalName, ExternalTarget},
    reach::{
        EXTERNAL_ADDRESSES_MAX, EXTERNAL_NAMES_PER_APP_MAX, NetworkRule, NewExternalName,
        NewNetworkRule, RULES_PER_APP_MAX,
    },
};

use crate::{
    auth::Caller,
    problem::{Answer, Problem},
    store::{
        Db, apps,
        columns::now,
        events,
        network::{self, ExternalNameRow},
    },
};

/// Lets another app's pods reach this one's: it is for who owns the app that is reached to say so.
/// The caller commits and wakes the reconcile loop.
pub async fn allow(
    db: &mut Db,
    app: &AppRef,
    new: &NewNetworkRule,
    caller: &Caller,
) -> Answer<NetworkRule> {
    let from = apps::find(db, &new.from).await?.app();
    if from.id == app.id {
        return Err(Problem::invalid("Pods of one app reach each other anyway."));
    }
    if new.port == Some(0) {
        return Err(Problem::invalid("A port is 1 to 65535."));
    }
    let rules = network::rules_of(db, app.id).await?;
    let same = |rule: &&NetworkRule| {
        rule.to.id == app.id && rule.from.id == from.id && rule.port == new.port
    };
    if let Some(known) = rules.iter().find(same) {
        return Ok(known.clone());
    }
    if rules.iter().filter(|rule| rule.to.id == app.id).count() >= RULES_PER_APP_MAX as usize {
        return Err(Problem::invalid(format!(
            "An app can have at most {RULES_PER_APP_MAX} network rules."
        )));
    }
    let rule = NetworkRule {
        id: AdmissionId::generate(),
        from,
        to: app.clone(),
        port: new.port,
        created_at: now(),
    };
    network::insert_rule(db, &rule).await?;
    let message = format!(
        "Pods of {} may connect{}.",
        rule.from.name,
        to_port(rule.port)
    );
    let actor = caller.account.email.as_str();
    events::record(db, Some(app), actor, "network.allowed", &message).await?;
    Ok(rule)
}

/// Takes a rule back, by its id. The caller commits and wakes the reconcile loop.
pub async fn deny(db: &mut Db, app: &AppRef, which: &str, caller: &Caller) -> Answer<NetworkRule> {
    let rules = network::rules_of(db, app.id).await?;
    let found = rules
        .into_iter()
        .find(|rule| rule.to.id == app.id && rule.id.to_string() == which);
    let rule = found.ok_or_else(|| Problem::not_found("network rule"))?;
    network::delete_rule(db, rule.id).await?;
    let message = format!(
        "Pods of {} may no longer connect{}.",
        rule.from.name,
        to_port(rule.port)
    );
    let actor = caller.account.email.as_str();
    events::record(db, Some(app), actor, "network.denied", &message).await?;
    Ok(rule)
}

fn to_port(port: Option<u16>) -> String {
    port.map_or_else(String::new, |port| format!(" to port {port}"))
}

/// Says what a name stands for. The caller commits and wakes the reconcile loop.
pub async fn set_external_name(
    db: &mut Db,
    app: &AppRef,
    name: ServiceName,
    new: NewExternalName,
    caller: &Caller,
) -> Answer<ExternalNameRow> {
    let target = target(new)?;
    let known = network::external_names_of(db, app.id).await?;
    let before = known.iter().find(|row| row.name.name == name);
    if before.is_none() && known.len() >= EXTERNAL_NAMES_PER_APP_MAX as usize {
        return Err(Problem::invalid(format!(
            "An app can have at most {EXTERNAL_NAMES_PER_APP_MAX} external names."
        )));
    }
    let row = ExternalNameRow {
        app: app.id,
        created_at: before.map_or_else(now, |before| before.created_at),
        name: ExternalName { name, target },
    };
    network::set_external_name(db, &row).await?;
    let message = format!("External name {} was set.", row.name.name);
    let actor = caller.account.email.as_str();
    events::record(db, Some(app), actor, "external-name.set", &message).await?;
    Ok(row)
}

/// Forgets a name. The caller commits and wakes the reconcile loop.
pub async fn remove_external_name(
    db: &mut Db,
    app: &AppRef,
    name: &str,
    caller: &Caller,
) -> Answer<ExternalNameRow> {
    let known = network::external_names_of(db, app.id).await?;
    let found = known.into_iter().find(|row| row.name.name.as_str() == name);
    let row = found.ok_or_else(|| Problem::not_found("external name"))?;
    network::delete_external_name(db, app.id, name).await?;
    let message = format!("External name {name} was removed.");
    let actor = caller.account.email.as_str();
    events::record(db, Some(app), actor, "external-name.removed", &message).await?;
    Ok(row)
}

fn target(new: NewExternalName) -> Answer<ExternalTarget> {
    match (new.hostname, new.addresses.as_slice()) {
        (Some(hostname), []) => Ok(ExternalTarget::Hostname(hostname)),
        (None, [_, ..]) if new.addresses.len() <= EXTERNAL_ADDRESSES_MAX => {
            Ok(ExternalTarget::Addresses(new.addresses))
        }
        (None, [_, ..]) => Err(Problem::invalid(format!(
            "A name can have at most {EXTERNAL_ADDRESSES_MAX} addresses."
        ))),
        _ => Err(Problem::invalid(
            "A name stands for one hostname, or for one or more IPv4 addresses.",
        )),
    }
}
