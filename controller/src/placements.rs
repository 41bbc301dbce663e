//! Where the pods of an app may run: what app.json says, and what people say instead.

use std::{collections::BTreeMap, sync::Arc};

use fairway_api::{
    names::{NodeName, ProcessType, SizeName},
    placement::{
        JOB_PLACEMENT, ONE_OFF_PLACEMENT, Placement, PlacementSource, Priority, TypePlacement,
    },
    sizes::SIZE_DEFAULT,
};
use fairway_scheduler::{
    place,
    snapshot::{Facts, Node, NodeState, resources},
};

use crate::{
    auth::Caller,
    formation,
    problem::{Answer, Problem},
    store::{
        Db,
        apps::AppRow,
        columns::now,
        events, nodes,
        placements::{self, PlacementRow},
        releases,
    },
};

/// Of each process type, of one-off commands and of jobs.
pub async fn list(db: &mut Db, app: &AppRow) -> Answer<Vec<TypePlacement>> {
    let said = placements::list(db, app.id).await?;
    let mut said: BTreeMap<_, _> = said
        .into_iter()
        .map(|row| (row.process_type, row.placement))
        .collect();
    let of_release = match app.current_release {
        Some(release) => releases::get(db, release).await?.image,
        None => None,
    };
    let machines = machines(db).await?;
    let mut all = vec![];
    for (process_type, size) in types(db, app).await? {
        let said = said.remove(&process_type);
        let in_release = of_release.as_ref().and_then(|image| {
            let asked = image.formation.get(&process_type)?;
            Some(asked.placement.clone())
        });
        let asked = in_release.filter(|placement| *placement != Placement::default());
        let source = match (&said, &asked) {
            (Some(_), _) => PlacementSource::App,
            (None, Some(_)) => PlacementSource::Release,
            (None, None) => PlacementSource::Default,
        };
        let placement = said.or(asked).unwrap_or_else(|| usual(&process_type));
        let sidecars = of_release.as_ref().map(|image| &image.sidecars);
        let beside = sidecars.map(|it| it.resources(Some(&process_type)));
        let need = resources(&size).plus(beside.unwrap_or_default());
        let nowhere = place::never_fits(&machines, &placement, need);
        all.push(TypePlacement {
            app: app.app(),
            process_type,
            placement,
            source,
            nowhere,
        });
    }
    Ok(all)
}

/// Jobs can wait, services cannot: they give way.
fn usual(process_type: &ProcessType) -> Placement {
    let mut usual = Placement::default();
    if process_type.as_str() == JOB_PLACEMENT {
        usual.priority = Priority::Low;
    }
    usual
}

/// What has a placement, with its size.
async fn types(db: &mut Db, app: &AppRow) -> Answer<BTreeMap<ProcessType, SizeName>> {
    let mut types = BTreeMap::new();
    for word in [ONE_OFF_PLACEMENT, JOB_PLACEMENT] {
        if let (Ok(word), Ok(size)) = (word.parse(), SIZE_DEFAULT.parse()) {
            types.insert(word, size);
        }
    }
    for row in formation::list(db, app).await? {
        types.insert(row.process_type, row.size);
    }
    Ok(types)
}

async fn machines(db: &mut Db) -> Answer<BTreeMap<NodeName, Node>> {
    let rows = nodes::all(db).await?.into_iter();
    let known = rows.map(|row| {
        let capacity = row.capacity.as_ref();
        let facts = Facts {
            labels: row.labels(),
            taints: row.taints.clone(),
            kind: row.facts.as_ref().map(|facts| facts.kind),
            architecture: capacity.and_then(|it| it.architecture.parse().ok()),
            disk_bytes: capacity.map_or(0, |it| it.disk_bytes),
            // It passes.
            disk_pressure: false,
        };
        let node = Node {
            state: NodeState::Ready,
            capacity: capacity.map(|it| it.resources),
            facts: Arc::new(facts),
            lost_at: None,
        };
        (row.name, node)
    });
    Ok(known.collect())
}

/// Says where the pods of a process type may run. What app.json says of the type does not count
/// any more, none of it. The caller commits and wakes the reconcile loop.
pub async fn set(
    db: &mut Db,
    app: &AppRow,
    process_type: &ProcessType,
    mut placement: Placement,
    caller: &Caller,
) -> Answer<()> {
    check_type(db, app, process_type).await?;
    placement.check().map_err(|error| {
        Problem::invalid(format!("This placement is not valid: {error}."))
            .hint("`app help placement:set` shows the forms.")
    })?;
    if process_type.as_str() == JOB_PLACEMENT && placement.priority == Priority::Normal {
        placement.priority = usual(process_type).priority;
    }
    let row = PlacementRow {
        app: app.id,
        process_type: process_type.clone(),
        placement,
    };
    placements::set(db, &row, now()).await?;
    let message = format!("Pods of {process_type} are placed: {}.", row.placement);
    let actor = caller.account.email.as_str();
    events::record(db, Some(&app.app()), actor, "placement.set", &message).await?;
    Ok(())
}

/// Leaves it to app.json again. The same for who commits.
pub async fn unset(
    db: &mut Db,
    app: &AppRow,
    process_type: &ProcessType,
    caller: &Caller,
) -> Answer<()> {
    if !placements::remove(db, app.id, process_type).await? {
        return Err(Problem::not_found(&format!("placement ({process_type})"))
            .hint("`app placement` shows what was set."));
    }
    let message = format!("Where pods of {process_type} run is app.json's to say again.");
    let actor = caller.account.email.as_str();
    events::record(db, Some(&app.app()), actor, "placement.unset", &message).await?;
    Ok(())
}

async fn check_type(db: &mut Db, app: &AppRow, process_type: &ProcessType) -> Answer<()> {
    let known = types(db, app).await?;
    if known.contains_key(process_type) {
        return Ok(());
    }
    let formation = formation::list(db, app).await?;
    Err(formation::unknown_type(process_type, &formation))
}
