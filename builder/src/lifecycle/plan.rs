//! Chooses which buildpacks of a group build, by what they provide and require. Pure.
//!
//! The rules are those of the specification's "phase 1": a requirement must be provided by the
//! same or an earlier buildpack, what is provided must be required, an optional buildpack that
//! breaks this steps aside, a required one ends the try. Each buildpack may offer alternatives;
//! they are tried in order, those of the last buildpack first.

use std::collections::BTreeMap;

use super::spec::{PlanSections, Require};

/// The most combinations of alternatives that are tried for one group.
const TRIES_MAX: usize = 4096;

/// A buildpack that passed detection, with its alternatives.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// Its place in the caller's list.
    pub(crate) index: usize,
    pub(crate) optional: bool,
    pub(crate) alternatives: Vec<PlanSections>,
}

/// What will build, in order, and what each has to provide.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resolved {
    /// Indices of the buildpacks that build.
    pub(crate) indices: Vec<usize>,
    pub(crate) entries: Vec<PlanEntry>,
}

/// Requirements of one name, and who provides it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlanEntry {
    pub(crate) providers: Vec<usize>,
    pub(crate) requires: Vec<Require>,
}

/// Why a group cannot build: the first unmet need of its first try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unresolved {
    /// Nobody before or at this buildpack provides what it requires.
    NotProvided { index: usize, name: String },
    /// Nobody requires what this buildpack would only be there to provide.
    NotRequired { index: usize, name: String },
    /// All members stepped aside.
    NobodyLeft,
}

/// Finds the first combination that holds.
pub(crate) fn resolve(candidates: &[Candidate]) -> Result<Resolved, Unresolved> {
    let mut choice = vec![0; candidates.len()];
    let mut first_failure = None;
    for _ in 0..TRIES_MAX {
        let chosen: Vec<Member<'_>> = candidates
            .iter()
            .zip(&choice)
            .map(|(candidate, &at)| member(candidate, at))
            .collect();
        match attempt(chosen) {
            Ok(resolved) => return Ok(resolved),
            Err(failure) => {
                first_failure.get_or_insert(failure);
            }
        }
        if !advance(&mut choice, candidates) {
            break;
        }
    }
    Err(first_failure.unwrap_or(Unresolved::NobodyLeft))
}

/// The next combination, counting like an odometer. False after the last.
fn advance(choice: &mut [usize], candidates: &[Candidate]) -> bool {
    for (at, candidate) in choice.iter_mut().zip(candidates).rev() {
        if *at + 1 < candidate.alternatives.len() {
            *at += 1;
            return true;
        }
        *at = 0;
    }
    false
}

#[derive(Clone, Copy)]
struct Member<'a> {
    index: usize,
    optional: bool,
    sections: Option<&'a PlanSections>,
}

fn member(candidate: &Candidate, at: usize) -> Member<'_> {
    let sections = candidate.alternatives.get(at);
    Member {
        index: candidate.index,
        optional: candidate.optional,
        sections,
    }
}

/// What is known of one name while members are gone through in order.
#[derive(Default)]
struct Need {
    providers: Vec<usize>,
    /// Provided, and not required yet.
    spare: Vec<usize>,
    requires: Vec<Require>,
    /// Required before anybody provided it.
    early: Vec<usize>,
}

fn attempt(mut members: Vec<Member<'_>>) -> Result<Resolved, Unresolved> {
    loop {
        if members.is_empty() {
            return Err(Unresolved::NobodyLeft);
        }
        let needs = needs(&members);
        let Some(failure) = first_unmet(&needs) else {
            let entries = needs
                .into_values()
                .filter(|need| !need.requires.is_empty())
                .map(|need| PlanEntry {
                    providers: need.providers,
                    requires: need.requires,
                })
                .collect();
            return Ok(Resolved {
                indices: members.iter().map(|m| m.index).collect(),
                entries,
            });
        };
        let (Unresolved::NotProvided { index, .. } | Unresolved::NotRequired { index, .. }) =
            failure
        else {
            return Err(failure);
        };
        let required = members
            .iter()
            .any(|member| member.index == index && !member.optional);
        if required {
            return Err(failure);
        }
        members.retain(|member| member.index != index);
    }
}

fn needs(members: &[Member<'_>]) -> BTreeMap<String, Need> {
    let mut needs: BTreeMap<String, Need> = BTreeMap::new();
    for member in members {
        let Some(sections) = member.sections else {
            continue;
        };
        for provide in &sections.provides {
            needs
                .entry(provide.name.clone())
                .or_default()
                .spare
                .push(member.index);
        }
        for require in &sections.requires {
            let need = needs.entry(require.name.clone()).or_default();
            need.providers.append(&mut need.spare);
            if need.providers.is_empty() {
                need.early.push(member.index);
            } else {
                need.requires.push(require.clone());
            }
        }
    }
    needs
}

fn first_unmet(needs: &BTreeMap<String, Need>) -> Option<Unresolved> {
    let early = needs.iter().find_map(|(name, need)| {
        need.early.first().map(|&index| Unresolved::NotProvided {
            index,
            name: name.clone(),
        })
    });
    early.or_else(|| {
        needs.iter().find_map(|(name, need)| {
            need.spare.first().map(|&index| Unresolved::NotRequired {
                index,
                name: name.clone(),
            })
        })
    })
}

#[cfg(test)]
mod tests;
