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
    filter::{self, Why},
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
    pub(crate) placement: Arc<Placement>,
}

impl Class {
    pub(crate) fn of(app: &App, pod: &Pod) -> Self {
        Self {
            app: app.id,
            release: pod.release,
            process_type: pod.process_type.clone(),
            size: pod.size.clone(),
            placement: app.placement(pod),
        }
    }

    pub(crate) fn need(&self) -> Resources {
        resources(&self.size)
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

/// A class's rules about other pods, ready to be asked for each machine.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    class: &'a Class,
    need: Resources,
    near: Vec<Rule<'a>>,
    apart: Vec<Rule<'a>>,
    zones: Evenly,
    nodes: Evenly,
    /// True if a rule about other pods can refuse a machine.
    pub(crate) hard: bool,
}

#[derive(Debug)]
struct Rule<'a> {
    written: &'a Neighbour,
    /// `None` if there is no such app.
    of: Option<Service<'a>>,
    /// It speaks of the class's own type; then only pods of its own release count, or no release
    /// could follow another.
    own: bool,
}

/// How evenly pods stand over domains.
#[derive(Debug, Clone, Copy)]
enum Evenly {
    Free,
    Soft(u32),
    Hard(u32),
}

impl<'a> Rules<'a> {
    pub(crate) fn new(
        class: &'a Class,
        cluster: &Cluster,
        apps: &BTreeMap<AppId, App>,
        names: &Names,
    ) -> Self {
        let rule = |written: &'a Neighbour| {
            let app = match &written.app {
                None => Some(class.app),
                Some(name) => names.find(apps, name),
            };
            let own = app == Some(class.app) && written.process_type == class.process_type;
            let of = app.map(|app| Service {
                app,
                process_type: &written.process_type,
                release: own.then_some(class.release),
            });
            Rule { written, of, own }
        };
        let evenly = |domain| {
            let asked = class.placement.spread.iter().find(|it| it.by == domain);
            match (asked, cluster.policy.strategy) {
                (Some(asked), _) if asked.mode == Strictness::Hard => Evenly::Hard(asked.max_skew),
                (Some(asked), _) => Evenly::Soft(asked.max_skew),
                (None, Strategy::Spread) => Evenly::Soft(1),
                (None, Strategy::Pack) => Evenly::Free,
            }
        };
        let near: Vec<_> = class.placement.near.iter().map(rule).collect();
        let apart: Vec<_> = class.placement.apart.iter().map(rule).collect();
        let (zones, nodes) = (evenly(Domain::Zone), evenly(Domain::Node));
        let mut neighbours = near.iter().chain(&apart);
        let hard = neighbours.any(|rule| rule.written.mode == Strictness::Hard)
            || matches!(zones, Evenly::Hard(_))
            || matches!(nodes, Evenly::Hard(_));
        Self {
            class,
            need: class.need(),
            near,
            apart,
            zones,
            nodes,
            hard,
        }
    }

    /// The class's own pods, as spreading counts them.
    pub(crate) fn own(&self) -> Service<'a> {
        Service {
            app: self.class.app,
            process_type: &self.class.process_type,
            release: Some(self.class.release),
        }
    }

    /// Says no because of the machine's size or what is promised on it.
    pub(crate) fn room(&self, cluster: &Cluster, index: Index) -> Option<Why> {
        let machine = cluster.machine(index);
        if machine.has_room(self.need, filter::NOTHING) {
            return filter::size(&machine.node, self.need);
        }
        filter::size(&machine.node, self.need).or_else(|| filter::room(machine, self.need))
    }

    /// Says no because of the pods that stand there or do not.
    pub(crate) fn company(&self, cluster: &Cluster, index: Index) -> Option<Why> {
        let hard = |rule: &&Rule<'_>| rule.written.mode == Strictness::Hard;
        let lonely = self
            .near
            .iter()
            .filter(hard)
            .find(|rule| !rule.is_there(cluster, index) && !rule.is_first(cluster));
        if let Some(rule) = lonely {
            return Some(Why::Near(rule.written.clone()));
        }
        let mut apart = self.apart.iter().filter(hard);
        let beside = apart.find(|rule| rule.is_there(cluster, index))?;
        Some(Why::Apart(beside.written.clone()))
    }

    /// The most pods of its own that a zone, and a machine, may have to get one more now.
    pub(crate) fn skew(&self, cluster: &Cluster, among: &[Index]) -> (u32, u32) {
        let zones = match self.zones {
            Evenly::Hard(max_skew) => least_by_zone(cluster, self.own(), among) + max_skew - 1,
            _ => u32::MAX,
        };
        let nodes = match self.nodes {
            Evenly::Hard(max_skew) => least_by_node(cluster, self.own(), among) + max_skew - 1,
            _ => u32::MAX,
        };
        (zones, nodes)
    }

    pub(crate) fn skewed(
        &self,
        cluster: &Cluster,
        index: Index,
        (zones, nodes): (u32, u32),
    ) -> Option<Why> {
        let count = |domain| cluster.count(self.own(), domain, index);
        if zones < u32::MAX && count(Domain::Zone) > zones {
            return Some(Why::Skew(Domain::Zone));
        }
        (nodes < u32::MAX && count(Domain::Node) > nodes).then_some(Why::Skew(Domain::Node))
    }

    /// How many soft rules about other pods the machine breaks.
    pub(crate) fn unmet(&self, cluster: &Cluster, index: Index) -> u32 {
        let soft = |rule: &&Rule<'_>| rule.written.mode == Strictness::Soft;
        let near = self.near.iter().filter(soft);
        let apart = self.apart.iter().filter(soft);
        let unmet = near.filter(|rule| !rule.is_there(cluster, index)).count()
            + apart.filter(|rule| rule.is_there(cluster, index)).count();
        u32::try_from(unmet).unwrap_or(u32::MAX)
    }

    /// Pods of the class's own in the machine's zone and on it, as far as hard rules count them,
    /// and as far as soft ones do.
    pub(crate) fn crowd(&self, cluster: &Cluster, index: Index) -> ((u32, u32), (u32, u32)) {
        let own = self.own();
        let count = |evenly: Evenly, domain| match evenly {
            Evenly::Free => (0, 0),
            Evenly::Soft(max_skew) => (0, cluster.count(own, domain, index) / max_skew),
            Evenly::Hard(_) => {
                let count = cluster.count(own, domain, index);
                (count, count)
            }
        };
        // A single zone is no choice.
        let zones = match (cluster.zones, self.zones) {
            (0..=1, Evenly::Soft(_)) => Evenly::Free,
            (_, zones) => zones,
        };
        let (hard_zone, zone) = count(zones, Domain::Zone);
        let (hard_node, node) = count(self.nodes, Domain::Node);
        ((hard_zone, hard_node), (zone, node))
    }
}

impl Rule<'_> {
    fn is_there(&self, cluster: &Cluster, index: Index) -> bool {
        self.of
            .is_some_and(|of| cluster.count(of, self.written.by, index) > 0)
    }

    /// The first pod of a type that wants to be near itself has nobody to be near to.
    fn is_first(&self, cluster: &Cluster) -> bool {
        self.own && self.of.is_none_or(|of| cluster.by_zone(of).is_empty())
    }
}

fn least_by_zone(cluster: &Cluster, own: Service<'_>, among: &[Index]) -> u32 {
    let counts = cluster.by_zone(own);
    let zones = among.iter().map(|index| cluster.machine(*index).zone);
    zones
        .map(|zone| counts.get(&zone).copied().unwrap_or(0))
        .min()
        .unwrap_or(0)
}

fn least_by_node(cluster: &Cluster, own: Service<'_>, among: &[Index]) -> u32 {
    let counts = cluster.by_node(own);
    among
        .iter()
        .map(|index| counts.get(index).copied().unwrap_or(0))
        .min()
        .unwrap_or(0)
}
