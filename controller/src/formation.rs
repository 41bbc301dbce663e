//! Scaling: the rules for wanted counts and sizes.

use std::{collections::BTreeMap, sync::Arc};

use fairway_api::{
    autoscale::Autoscale,
    formation::{Formation, FormationUpdate, QUANTITY_MAX, Quantity},
    ids::AppId,
    names::{NodeName, ProcessType, SizeName},
    placement::Placement,
    sidecars::BuiltSidecars,
    sizes::{self, Resources},
};
use fairway_scheduler::{
    autoscale::Verdict,
    place,
    snapshot::{Node, NodeState, resources},
};

use crate::{
    auth::Caller,
    problem::{Answer, Problem},
    store::{
        Db,
        apps::{self, AppRow},
        autoscale,
        columns::now,
        events::{self, ACTOR_PLATFORM},
        formation::{self, FormationRow},
        nodes::{self, NodeRow},
        releases,
    },
    volumes,
};

/// The process type whose pods run before a release and never beside it: nothing to scale.
const RELEASE_PHASE: &str = "release";

/// The process types that can be scaled, with their commands: those of the release that is live,
/// or, before any is, none.
pub async fn commands(db: &mut Db, app: &AppRow) -> Answer<BTreeMap<ProcessType, String>> {
    let Some(current) = app.current_release else {
        return Ok(BTreeMap::new());
    };
    let image = releases::get(db, current).await?.image;
    let processes = image.into_iter().flat_map(|image| image.processes);
    Ok(processes
        .filter(|(process_type, _)| process_type.as_str() != RELEASE_PHASE)
        .map(|(process_type, process)| (process_type, process.command_line))
        .collect())
}

/// The sidecars of the release that is live.
pub(crate) async fn sidecars(db: &mut Db, app: &AppRow) -> Answer<BuiltSidecars> {
    let Some(current) = app.current_release else {
        return Ok(BuiltSidecars::default());
    };
    let image = releases::get(db, current).await?.image;
    Ok(image.map(|image| image.sidecars).unwrap_or_default())
}

/// An app's formation as users see it.
pub async fn list(db: &mut Db, app: &AppRow) -> Answer<Vec<Formation>> {
    let mut commands = commands(db, app).await?;
    let rows = formation::list(db, app.id).await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some(shown(app, commands.remove(&row.process_type)?, row)))
        .collect())
}

fn shown(app: &AppRow, command: String, row: FormationRow) -> Formation {
    Formation {
        id: row.id,
        app: app.app(),
        process_type: row.process_type,
        command,
        quantity: row.quantity,
        size: row.size,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

/// Changes counts and sizes, all or none. The caller commits and wakes the reconcile loop.
pub async fn scale(
    db: &mut Db,
    app: AppId,
    updates: &[FormationUpdate],
    caller: &Caller,
) -> Answer<Vec<Formation>> {
    let app = apps::get(db, app).await?;
    let before = list(db, &app).await?;
    check_autoscale(db, &app, &before, updates).await?;
    check_volumes(db, &app, &before, updates).await?;
    let after = change(db, &app, &before, updates).await?;
    if let Some(message) = describe(&before, &after) {
        let actor = caller.account.email.as_str();
        events::record(db, Some(&app.app()), actor, "formation.scaled", &message).await?;
    }
    Ok(after)
}

/// Sets the count that measurements ask for. The caller commits and wakes the reconcile loop.
pub async fn autoscale(
    db: &mut Db,
    app: &AppRow,
    process_type: &ProcessType,
    verdict: &Verdict,
) -> Answer<()> {
    let before = list(db, app).await?;
    let update = FormationUpdate {
        process_type: process_type.clone(),
        quantity: Some(Quantity::Exactly(verdict.wanted)),
        size: None,
    };
    change(db, app, &before, &[update]).await?;
    let row = before.iter().find(|row| row.process_type == *process_type);
    let message = format!(
        "autoscaler: {process_type} {} -> {}: {}",
        row.map_or(0, |row| row.quantity),
        verdict.wanted,
        verdict.reason
    );
    let app = app.app();
    events::record(
        db,
        Some(&app),
        ACTOR_PLATFORM,
        "formation.autoscaled",
        &message,
    )
    .await?;
    Ok(())
}

/// Refuses a count that autoscaling would take back at once. Within its bounds it is where
/// autoscaling goes on from.
async fn check_autoscale(
    db: &mut Db,
    app: &AppRow,
    before: &[Formation],
    updates: &[FormationUpdate],
) -> Answer<()> {
    let policies = autoscale::list(db, app.id).await?;
    for update in updates {
        let name = &update.process_type;
        let policy = policies.iter().find(|row| row.process_type == *name);
        let row = before.iter().find(|row| row.process_type == *name);
        let (Some(policy), Some(row), Some(quantity)) = (policy, row, update.quantity) else {
            continue;
        };
        let policy = &policy.policy;
        let wanted = count(row, quantity)?;
        let Autoscale { min, max, .. } = policy.within(policy.window(now()));
        if !(min..=max).contains(&wanted) {
            return Err(Problem::conflict(format!(
                "{name} is autoscaled between {min} and {max}, so it cannot be set to {wanted}."
            ))
            .hint(format!(
                "Change the bounds: app autoscale:set {name} --min {} --max {}. Or end it: app \
                 autoscale:off {name}",
                wanted.min(min),
                wanted.max(max)
            )));
        }
    }
    Ok(())
}

/// Refuses pods that would wait for ever for a volume that another pod has.
async fn check_volumes(
    db: &mut Db,
    app: &AppRow,
    before: &[Formation],
    updates: &[FormationUpdate],
) -> Answer<()> {
    for update in updates {
        let name = &update.process_type;
        let row = before.iter().find(|row| row.process_type == *name);
        if let (Some(row), Some(quantity)) = (row, update.quantity) {
            volumes::check_count(db, app, name, count(row, quantity)?).await?;
        }
    }
    Ok(())
}

/// Changes counts and sizes, all or none, whoever asks.
async fn change(
    db: &mut Db,
    app: &AppRow,
    before: &[Formation],
    updates: &[FormationUpdate],
) -> Answer<Vec<Formation>> {
    for update in updates {
        let process_type = &update.process_type;
        let row = before.iter().find(|row| row.process_type == *process_type);
        let row = row.ok_or_else(|| unknown_type(process_type, before))?;
        let size = update.size.as_ref().map(known_size).transpose()?;
        let quantity = update.quantity.map(|quantity| count(row, quantity));
        let quantity = quantity.transpose()?;
        formation::scale(db, app.id, process_type, quantity, size.as_ref(), now()).await?;
    }
    let after = list(db, app).await?;
    let sidecars = sidecars(db, app).await?;
    check_sizes(db, &sidecars, before, &after).await?;
    Ok(after)
}

/// How many machines are asked first whether they could hold a pod. Mostly one of them could, and
/// with thousands of machines a look at all of them takes far longer than the change itself.
const ASKED_FIRST: u32 = 8;

/// Refuses more pods of a size that no machine could hold even if nothing else ran: they would wait
/// for ever.
async fn check_sizes(
    db: &mut Db,
    sidecars: &BuiltSidecars,
    before: &[Formation],
    after: &[Formation],
) -> Answer<()> {
    let asked = after.iter().filter(|row| {
        let old = before.iter().find(|old| old.id == row.id);
        let more = old.is_none_or(|old| old.size != row.size || old.quantity < row.quantity);
        row.quantity > 0 && more
    });
    let asked: Vec<&Formation> = asked.collect();
    if asked.is_empty() {
        return Ok(());
    }
    let placement = Placement::default();
    let beside = |row: &Formation| sidecars.resources(Some(&row.process_type));
    let never_fits = |row: &Formation, known: &_| {
        place::never_fits(known, &placement, resources(&row.size).plus(beside(row)))
    };
    let few = machines(nodes::first(db, ASKED_FIRST).await?);
    let is_known = few.values().any(|node| node.capacity.is_some());
    if is_known && asked.iter().all(|row| never_fits(row, &few).is_none()) {
        return Ok(());
    }
    let all = machines(nodes::all(db).await?);
    for row in asked {
        if let Some(why) = never_fits(row, &all) {
            let (process_type, size) = (&row.process_type, &row.size);
            let company = match beside(row) == Resources::default() {
                true => "",
                false => " with its sidecars",
            };
            return Err(Problem::invalid(format!(
                "{process_type} ({size}){company} fits on no machine, even an empty one: {}.",
                why.replace('\n', "; ")
            ))
            .hint("Take a smaller size, or add a larger machine."));
        }
    }
    Ok(())
}

/// Machines as the planner would see them if nothing ran on them.
fn machines(rows: Vec<NodeRow>) -> BTreeMap<NodeName, Node> {
    let machines = rows.into_iter().map(|row| {
        let node = Node {
            state: NodeState::Ready,
            capacity: row.capacity.map(|capacity| capacity.resources),
            facts: Arc::default(),
            lost_at: None,
        };
        (row.name, node)
    });
    machines.collect()
}

/// The count that is wanted of a process type that has `row`.
fn count(row: &Formation, quantity: Quantity) -> Answer<u32> {
    let wanted = match quantity {
        Quantity::Exactly(count) => count,
        Quantity::More(step) => row.quantity.saturating_add(step),
        Quantity::Fewer(step) => row.quantity.checked_sub(step).ok_or_else(|| {
            Problem::invalid(format!(
                "{} has {}, so {step} cannot be taken away.",
                row.process_type, row.quantity
            ))
        })?,
    };
    if wanted > QUANTITY_MAX {
        return Err(Problem::invalid(format!(
            "A process type can have at most {QUANTITY_MAX} pods."
        ))
        .hint("Use a larger size, or split the app."));
    }
    Ok(wanted)
}

fn known_size(size: &SizeName) -> Answer<SizeName> {
    sizes::find(size.as_str())
        .map(|size| size.name)
        .ok_or_else(|| {
            let names: Vec<_> = sizes::all()
                .into_iter()
                .map(|size| size.name.to_string())
                .collect();
            Problem::invalid(format!("Couldn't find that size ({size})."))
                .hint(format!("Sizes are {}.", names.join(", ")))
        })
}

/// Says that there is no such process type, and which there are.
pub fn unknown_type(process_type: &ProcessType, known: &[Formation]) -> Problem {
    let problem = Problem::not_found(&format!("process type ({process_type})"));
    if known.is_empty() {
        return problem.hint("Push the app first; its Procfile says which process types it has.");
    }
    let names: Vec<_> = known
        .iter()
        .map(|row| row.process_type.to_string())
        .collect();
    problem.hint(format!("This release has {}.", names.join(", ")))
}

/// One sentence on what changed; `None` if nothing did.
fn describe(before: &[Formation], after: &[Formation]) -> Option<String> {
    let changed: Vec<_> = after
        .iter()
        .filter(|row| {
            !before
                .iter()
                .any(|old| old.id == row.id && old.quantity == row.quantity && old.size == row.size)
        })
        .map(|row| format!("{}={}:{}", row.process_type, row.quantity, row.size))
        .collect();
    (!changed.is_empty()).then(|| format!("Scaled to {}.", changed.join(" ")))
}
