//! What people ask of autoscaling.

use fairway_api::{
    autoscale::{Autoscale, Autoscaling},
    names::ProcessType,
};

use super::Decisions;
use crate::{
    auth::Caller,
    formation,
    problem::{Answer, Problem, sentence},
    store::{
        Db,
        apps::AppRow,
        autoscale::{self, AutoscaleRow},
        columns::now,
        events, formation as formation_rows,
    },
    volumes,
};

/// An app's settings, and what they led to.
pub async fn list(db: &mut Db, app: &AppRow, decisions: &Decisions) -> Answer<Vec<Autoscaling>> {
    let rows = autoscale::list(db, app.id).await?;
    let formation = formation_rows::list(db, app.id).await?;
    let shown = |row: AutoscaleRow| {
        let count = formation
            .iter()
            .find(|it| it.process_type == row.process_type);
        Autoscaling {
            app: app.app(),
            quantity: count.map_or(0, |it| it.quantity),
            last: decisions.of(app.id, &row.process_type),
            process_type: row.process_type,
            policy: row.policy,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    };
    Ok(rows.into_iter().map(shown).collect())
}

/// Sets what is asked for a process type. The caller commits and wakes the reconcile loop.
pub async fn set(
    db: &mut Db,
    app: &AppRow,
    process_type: &ProcessType,
    policy: &Autoscale,
    caller: &Caller,
) -> Answer<()> {
    let known = formation::list(db, app).await?;
    if !known.iter().any(|row| row.process_type == *process_type) {
        return Err(formation::unknown_type(process_type, &known));
    }
    policy
        .check(process_type)
        .map_err(|error| Problem::invalid(sentence(&error)))?;
    volumes::check_count(db, app, process_type, policy.max).await?;
    autoscale::set(db, app.id, process_type, policy, now()).await?;
    let message = format!(
        "{process_type} is autoscaled between {} and {}",
        policy.min, policy.max
    );
    let actor = caller.account.email.as_str();
    events::record(db, Some(&app.app()), actor, "autoscale.set", &message).await?;
    Ok(())
}

/// Ends autoscaling of a process type; its count stays. The same for who commits.
pub async fn remove(
    db: &mut Db,
    app: &AppRow,
    process_type: &ProcessType,
    caller: &Caller,
) -> Answer<()> {
    if !autoscale::remove(db, app.id, process_type).await? {
        return Err(Problem::not_found(&format!("autoscaling ({process_type})")));
    }
    let message = format!("{process_type} is no longer autoscaled");
    let actor = caller.account.email.as_str();
    events::record(db, Some(&app.app()), actor, "autoscale.removed", &message).await?;
    Ok(())
}
