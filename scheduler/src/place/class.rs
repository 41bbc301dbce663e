//! Pods that ask for the same: they are placed together, so that machines are looked through once
//! for all of them.

use std::{cell::OnceCell, collections::BTreeMap, collections::HashMap, sync::Arc};

use fairway_api::{
    ids::{AppId, ReleaseId},
    names::{AppName, ProcessType, SizeName},
    placement::{Domain, Neighbour, Placement, Strictness},
    sizes::Resources,
};

use super::cluster::{Cluster, Index, Service};
use crate::{
    filter::Why,
    policy::Strategy,
    snapshot::{App, Pod, resources},
};

/// What all pods of a class share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    pub(crate) app: AppId,
    pub(crate) release: ReleaseId,
    pub(crate) process_type: ProcessType,
    pub(crate) size: SizeName,
    pub(crate) sidecars: Resources,
    pub(crate) placement: Arc<Placement>,
}

impl Class {
    pub(crate) fn of(app: &App, pod: &Pod) -> Self {
        Self {
            app: app.id,
            release: pod.release,
            process_type: pod.process_type.clone(),
            size: pod.size.clone(),
            sidecars: pod.sidecars,
            placement: app.placement(pod),
        }
    }

    pub(crate) fn need(&self) -> Resources {
        resources(&self.size).plus(self.sidecars)
    }
}

/// Apps by name, made when the first rule names one.
#[derive(Debug, Default)]
pub(crate) struct Names(OnceCell<HashMap<AppName, AppId>>);

impl Names {
    fn find(&self, apps: &BTreeMap<AppId, App>, name: &AppName) -> Option<AppId> {
        let all = || {
            apps.values()
                .map(|app| (app.name.clone(), app.id))
                .collect()
        };
        self.0.get_or_init(all).get(name).copied()
    }
}

/// A class's rules about other pods, with what they need to know of them. While the class is
/// placed nothing else is, so what it counts once it keeps up to date itself.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    near: Vec<Rule<'a>>,
    apart: Vec<Rule<'a>>,
    zones: Evenly,
    nodes: Evenly,
    /// Pods of the class's own type and release by zone, and by machine.
    own_zones: Vec<u32>,
    own_nodes: Vec<u32>,
    /// Zones with machines that may take the class.
    zones_among: Vec<u32>,
    /// How many of those machines have so many of its pods; kept for a hard spread over machines.
    nodes_with: BTreeMap<u32, usize>,
    /// True if a rule about other pods can refuse a machine.
    pub(crate) hard: bool,
}

#[derive(Debug)]
struct Rule<'a> {
    written: &'a Neighbour,
    /// It speaks of the class's own type; then only pods of its own release count, or no release
    /// could follow another.
    own: bool,
    /// Pods that it speaks of by zone, and by machine.
    zones: Vec<u32>,
    nodes: Vec<u32>,
}

/// How evenly pods stand over domains.
#[derive(Debug, Clone, Copy)]
enum Evenly {
    Free,
    Soft(u32),
    Hard(u32),
}

/// The most pods of its own that a zone, and a machine, may have to get one more now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Skew {
    zone: u32,
    node: u32,
}

impl<'a> Rules<'a> {
    pub(crate) fn new(
        class: &'a Class,
        cluster: &Cluster,
        among: &[Index],
        apps: &BTreeMap<AppId, App>,
        names: &Names,
    ) -> Self {
        let own = Service {
            app: class.app,
            process_type: &class.process_type,
            release: Some(class.release),
        };
        let rule = |written: &'a Neighbour| Rule::new(written, own, cluster, apps, names);
        let near: Vec<_> = class.placement.near.iter().map(rule).collect();
        let apart: Vec<_> = class.placement.apart.iter().map(rule).collect();
        let (zones, nodes) = (
            // A single zone is no choice.
            match evenly(class, cluster, Domain::Zone) {
                Evenly::Soft(_) if cluster.zones <= 1 => Evenly::Free,
                zones => zones,
            },
            evenly(class, cluster, Domain::Node),
        );
        let is_hard = |evenly| matches!(evenly, Evenly::Hard(_));
        let mut neighbours = near.iter().chain(&apart);
        let hard = neighbours.any(Rule::is_hard) || is_hard(zones) || is_hard(nodes);
        let (own_zones, own_nodes) = cluster.count(own);
        let mut rules = Self {
            near,
            apart,
            zones,
            nodes,
            own_zones,
            own_nodes,
            zones_among: vec![],
            nodes_with: BTreeMap::new(),
            hard,
        };
        if is_hard(zones) || is_hard(nodes) {
            rules.survey(cluster, among);
        }
        rules
    }

    fn survey(&mut self, cluster: &Cluster, among: &[Index]) {
        for &index in among {
            self.zones_among.push(cluster.rooms[index as usize].zone);
            let count = self.own_nodes[index as usize];
            *self.nodes_with.entry(count).or_default() += 1;
        }
        self.zones_among.sort_unstable();
        self.zones_among.dedup();
    }

    /// A pod of the class was placed.
    pub(crate) fn placed(&mut self, zone: u32, index: Index) {
        let own = &mut self.own_nodes[index as usize];
        if let Some(machines) = self.nodes_with.get_mut(own) {
            *machines -= 1;
            if *machines == 0 {
                self.nodes_with.remove(own);
            }
            *self.nodes_with.entry(*own + 1).or_default() += 1;
        }
        *own += 1;
        self.own_zones[zone as usize] += 1;
        for rule in self.near.iter_mut().chain(&mut self.apart) {
            if rule.own {
                rule.zones[zone as usize] += 1;
                rule.nodes[index as usize] += 1;
            }
        }
    }

    /// Says no because of the pods that stand there or do not.
    pub(crate) fn company(&self, zone: u32, index: Index) -> Option<Why> {
        let mut near = self.near.iter().filter(|rule| rule.is_hard());
        if let Some(lonely) = near.find(|rule| !rule.is_there(zone, index) && !rule.is_first()) {
            return Some(Why::Near(lonely.written.clone()));
        }
        let mut apart = self.apart.iter().filter(|rule| rule.is_hard());
        let beside = apart.find(|rule| rule.is_there(zone, index))?;
        Some(Why::Apart(beside.written.clone()))
    }

    pub(crate) fn skew(&self) -> Skew {
        let most = |evenly, least: u32| match evenly {
            Evenly::Hard(max_skew) => least.saturating_add(max_skew - 1),
            _ => u32::MAX,
        };
        let zones = self.zones_among.iter();
        let in_zones = zones.map(|zone| self.own_zones[*zone as usize]).min();
        let on_nodes = self.nodes_with.keys().next().copied();
        Skew {
            zone: most(self.zones, in_zones.unwrap_or(0)),
            node: most(self.nodes, on_nodes.unwrap_or(0)),
        }
    }

    /// Says no because there are too many of the class's own pods already, compared to elsewhere.
    pub(crate) fn skewed(&self, zone: u32, index: Index, most: Skew) -> Option<Why> {
        if self.own_zones[zone as usize] > most.zone {
            return Some(Why::Skew(Domain::Zone));
        }
        (self.own_nodes[index as usize] > most.node).then_some(Why::Skew(Domain::Node))
    }

    /// How many soft rules about other pods the machine breaks.
    pub(crate) fn unmet(&self, zone: u32, index: Index) -> u32 {
        let near = self.near.iter().filter(|rule| !rule.is_hard());
        let apart = self.apart.iter().filter(|rule| !rule.is_hard());
        let unmet = near.filter(|rule| !rule.is_there(zone, index)).count()
            + apart.filter(|rule| rule.is_there(zone, index)).count();
        u32::try_from(unmet).unwrap_or(u32::MAX)
    }

    /// Pods of the class's own in the machine's zone and on it, as far as hard rules count them,
    /// and as far as soft ones do.
    pub(crate) fn crowd(&self, zone: u32, index: Index) -> ((u32, u32), (u32, u32)) {
        let count = |evenly, count: u32| match evenly {
            Evenly::Free => (0, 0),
            Evenly::Soft(max_skew) => (0, count / max_skew),
            Evenly::Hard(_) => (count, count),
        };
        let (hard_zone, zone) = count(self.zones, self.own_zones[zone as usize]);
        let (hard_node, node) = count(self.nodes, self.own_nodes[index as usize]);
        ((hard_zone, hard_node), (zone, node))
    }
}

fn evenly(class: &Class, cluster: &Cluster, domain: Domain) -> Evenly {
    let asked = class.placement.spread.iter().find(|it| it.by == domain);
    match (asked, cluster.policy.strategy) {
        (Some(asked), _) if asked.mode == Strictness::Hard => Evenly::Hard(asked.max_skew),
        (Some(asked), _) => Evenly::Soft(asked.max_skew),
        (None, Strategy::Spread) => Evenly::Soft(1),
        (None, Strategy::Pack) => Evenly::Free,
    }
}

impl<'a> Rule<'a> {
    fn new(
        written: &'a Neighbour,
        own: Service<'a>,
        cluster: &Cluster,
        apps: &BTreeMap<AppId, App>,
        names: &Names,
    ) -> Self {
        let app = match &written.app {
            None => Some(own.app),
            Some(name) => names.find(apps, name),
        };
        let is_own = app == Some(own.app) && written.process_type == *own.process_type;
        let of = app.map(|app| Service {
            app,
            process_type: &written.process_type,
            release: own.release.filter(|_| is_own),
        });
        let nobody = || {
            (
                vec![0; cluster.zones as usize],
                vec![0; cluster.machines.len()],
            )
        };
        let (zones, nodes) = of.map_or_else(nobody, |of| cluster.count(of));
        Self {
            written,
            own: is_own,
            zones,
            nodes,
        }
    }

    fn is_hard(&self) -> bool {
        self.written.mode == Strictness::Hard
    }

    fn is_there(&self, zone: u32, index: Index) -> bool {
        match self.written.by {
            Domain::Zone => self.zones[zone as usize] > 0,
            Domain::Node => self.nodes[index as usize] > 0,
        }
    }

    /// The first pod of a type that wants to be near itself has nobody to be near to.
    fn is_first(&self) -> bool {
        self.own && self.zones.iter().all(|count| *count == 0)
    }
}
