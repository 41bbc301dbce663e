//! Why no machine takes a pod, in a few lines however many machines there are.

use std::collections::HashMap;

use fairway_api::names::NodeName;

use crate::filter::Why;

/// Up to so many machines each has a line of its own.
const MACHINES_EACH_MAX: usize = 8;
/// The most lines; what is left over is counted in one more.
const LINES_MAX: usize = 8;

/// The reasons of machines, counted by what is equal in them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reasons<'a> {
    /// In full, while there are few.
    each: Vec<(&'a NodeName, Why)>,
    groups: HashMap<Why, Group<'a>>,
    count: usize,
}

#[derive(Debug, Clone)]
struct Group<'a> {
    machines: usize,
    first: &'a NodeName,
    first_why: Why,
}

impl<'a> Reasons<'a> {
    pub(crate) fn add(&mut self, machine: &'a NodeName, why: Why) {
        self.count += 1;
        if self.each.len() < MACHINES_EACH_MAX {
            self.each.push((machine, why.clone()));
        }
        let group = self.groups.entry(why.clone().grouped()).or_insert(Group {
            machines: 0,
            first: machine,
            first_why: why,
        });
        group.machines += 1;
    }

    /// One line per machine, or per reason when there are many machines; `None` without machines.
    pub(crate) fn text(&self) -> Option<String> {
        if self.count == 0 {
            return None;
        }
        let one = |machine: &NodeName, why: &Why| format!("{machine}: {why}");
        if self.count <= MACHINES_EACH_MAX {
            let mut each: Vec<_> = self.each.iter().collect();
            each.sort();
            let lines: Vec<_> = each
                .iter()
                .map(|(machine, why)| one(machine, why))
                .collect();
            return Some(lines.join("\n"));
        }
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|(why, group)| (std::cmp::Reverse(group.machines), *why));
        let mut lines: Vec<String> = groups
            .iter()
            .take(LINES_MAX)
            .map(|(why, group)| match group.machines {
                1 => one(group.first, &group.first_why),
                many => format!("{many} machines: {}", why.of_many()),
            })
            .collect();
        let rest = groups
            .iter()
            .skip(LINES_MAX)
            .map(|(_, group)| group.machines);
        let rest: usize = rest.sum();
        if rest > 0 {
            lines.push(format!("{rest} machines: other reasons"));
        }
        Some(lines.join("\n"))
    }
}
