//! In which order the containers of a pod start: from `after` and `before` to what each has to wait
//! for. Pure.
//!
//! A sidecar starts before the main container unless it comes after it, itself or by another. Adding
//! that closes no circle: what it is added to cannot be reached from the main container.

use std::collections::{BTreeMap, BTreeSet};

use fairway_api::names::ContainerName;

use super::{super::AppJsonError, Entry, refused};

type Edges = BTreeMap<ContainerName, BTreeSet<ContainerName>>;

/// Who waits for whom, all the way down.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) after: Edges,
    pub(super) main_after: BTreeSet<ContainerName>,
}

pub(super) fn resolve(entries: &[Entry]) -> Result<Order, AppJsonError> {
    let main = ContainerName::main();
    let mut edges = edges(entries)?;
    if let Some(cycle) = edges.keys().find_map(|start| cycle(start, &edges)) {
        let names: Vec<&str> = cycle.iter().map(ContainerName::as_str).collect();
        let first = entries.iter().position(|it| cycle.contains(&it.name));
        let at = format!("sidecars[{}]", first.unwrap_or_default());
        let rule = format!(
            "{} wait for each other in a circle, so none could start first; remove one \"after\" \
             or \"before\"",
            names.join(" -> ")
        );
        return Err(refused(at, rule));
    }
    for entry in entries {
        if !before(&entry.name, &edges).contains(&main) {
            edges
                .entry(main.clone())
                .or_default()
                .insert(entry.name.clone());
        }
    }
    let all = entries.iter().map(|it| &it.name);
    Ok(Order {
        after: all
            .map(|name| (name.clone(), before(name, &edges)))
            .collect(),
        main_after: before(&main, &edges),
    })
}

/// What each waits for by its own words, or by another's `before`.
fn edges(entries: &[Entry]) -> Result<Edges, AppJsonError> {
    let mut edges = Edges::from([(ContainerName::main(), BTreeSet::new())]);
    for (index, entry) in entries.iter().enumerate() {
        if entry.name.is_main() {
            let rule = "main is the name of the process type's own container; take another";
            return Err(refused(format!("sidecars[{index}].name"), rule));
        }
        if edges.insert(entry.name.clone(), BTreeSet::new()).is_some() {
            let rule = format!("there are two sidecars named {}", entry.name);
            return Err(refused(format!("sidecars[{index}].name"), rule));
        }
    }
    for (index, entry) in entries.iter().enumerate() {
        for (key, names) in [("after", &entry.after), ("before", &entry.before)] {
            for name in names {
                let (first, second) = match key {
                    "after" => (name, &entry.name),
                    _ => (&entry.name, name),
                };
                if !edges.contains_key(name) {
                    let rule = format!("there is no sidecar {name}; name another one, or main");
                    return Err(refused(format!("sidecars[{index}].{key}"), rule));
                }
                edges
                    .entry(second.clone())
                    .or_default()
                    .insert(first.clone());
            }
        }
    }
    Ok(edges)
}

/// A way from a container back to itself, both ends named, if there is one.
fn cycle(start: &ContainerName, edges: &Edges) -> Option<Vec<ContainerName>> {
    // By whom each was reached; what was seen is not gone through again.
    let mut from: BTreeMap<&ContainerName, &ContainerName> = BTreeMap::new();
    let mut open = vec![start];
    while let Some(name) = open.pop() {
        for next in edges.get(name).into_iter().flatten() {
            if next == start {
                let mut way = vec![start.clone(), name.clone()];
                let mut at = name;
                while at != start {
                    at = from.get(at)?;
                    way.push(at.clone());
                }
                way.reverse();
                return Some(way);
            }
            if !from.contains_key(next) {
                from.insert(next, name);
                open.push(next);
            }
        }
    }
    None
}

/// Everything that must be up before this one, directly or by others.
fn before(name: &ContainerName, edges: &Edges) -> BTreeSet<ContainerName> {
    let mut found = BTreeSet::new();
    let mut open = vec![name];
    while let Some(name) = open.pop() {
        for next in edges.get(name).into_iter().flatten() {
            if found.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    found
}
