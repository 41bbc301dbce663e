//! What the loop remembers of the pod network, and what each machine has to know of it.

use std::collections::{BTreeMap, BTreeSet};

use fairway_api::{
    ids::{AppId, PodId},
    names::NodeName,
    network::{NetworkPlan, NetworkStatus},
    pods::PodStatus,
};

use super::world::World;
use crate::{
    network::{self, Book, Choice, Entry, Reach},
    state::AppState,
    store::{
        Db, StoreError,
        network::{self as rows, PodNetworkRow, SubnetRow},
    },
};

/// Subnets of machines, and who may reach whom seen from the other side.
#[derive(Debug, Default)]
pub(super) struct Networks {
    book: Book,
    /// From an app to those that admit it.
    admitted_to: BTreeMap<AppId, BTreeSet<AppId>>,
}

impl Networks {
    /// An app admits others than before.
    pub(super) fn admit(&mut self, app: AppId, before: &Reach, now: &Reach) {
        for admission in &before.admits {
            if let Some(admitting) = self.admitted_to.get_mut(&admission.app) {
                admitting.remove(&app);
            }
        }
        self.admitted_to
            .retain(|_, admitting| !admitting.is_empty());
        for admission in &now.admits {
            let admitting = self.admitted_to.entry(admission.app).or_default();
            admitting.insert(app);
        }
    }
}

impl World {
    /// Reads who has which subnet. A machine that came, went or moved concerns all others.
    pub(super) async fn load_subnets(&mut self, db: &mut Db) -> Result<(), StoreError> {
        let subnets = rows::subnets(db).await?.into_iter();
        let machines = subnets.filter(|row| self.nodes.contains_key(&row.node));
        let book = Book {
            pods: rows::pods(db).await?,
            machines: machines.map(|row| (row.node.clone(), row)).collect(),
        };
        if book != self.networks.book {
            self.networks.book = book;
            self.note_all_machines();
        }
        Ok(())
    }

    fn note_all_machines(&mut self) {
        let all = self.networks.book.machines.keys().cloned();
        self.news.orders.extend(all);
    }

    /// Takes in what a machine says of its network; one that is new to it gets a subnet.
    pub(super) fn hear_network(
        &mut self,
        node: &NodeName,
        status: &NetworkStatus,
        choice: &Choice,
    ) {
        let random = PodId::generate().as_uuid().as_u128() & u128::from(u32::MAX);
        let seed = u32::try_from(random).unwrap_or(u32::MAX);
        match self.networks.book.hear(node, status, choice, seed) {
            Entry::Known => {}
            Entry::New { pods, machine } => {
                self.networks.book.write(pods, machine.clone());
                self.news.subnets.push((pods, machine));
                self.note_all_machines();
            }
            Entry::Refused(why) => tracing::error!(%node, "no subnet of the pod network: {why}"),
        }
    }

    /// Notes that an app's pods changed for those that may reach them or be reached.
    pub(super) fn note_network_of(&mut self, app: AppId) {
        if self.networks.book.machines.is_empty() {
            return;
        }
        let apps = &self.planner.snapshot().apps;
        let related = self.related(app);
        let related = related.iter().filter_map(|id| apps.get(id));
        let machines = related.flat_map(|app| app.pods.values().filter_map(|pod| pod.node.clone()));
        let machines: BTreeSet<NodeName> = machines.collect();
        self.news.orders.extend(machines);
    }

    fn related(&self, app: AppId) -> BTreeSet<AppId> {
        let reach = |id| self.apps.get(&id).map(|known| &known.reach);
        network::related(app, reach, &self.networks.admitted_to)
    }

    /// What a machine with pods of these apps has to know; `None` if it has no subnet.
    pub(super) fn network_plan(
        &self,
        state: &AppState,
        node: &NodeName,
        apps: impl Iterator<Item = AppId>,
    ) -> Option<NetworkPlan> {
        let config = &state.config;
        let host_ports = [config.router_http_port];
        let book = &self.networks.book;
        let mut plan = book.plan(node, &config.network_choice(), &host_ports)?;
        let here: BTreeSet<AppId> = apps.collect();
        let apps: BTreeSet<AppId> = here.into_iter().flat_map(|app| self.related(app)).collect();
        let apps = apps.into_iter().filter_map(|id| {
            let (app, known) = (self.planner.snapshot().apps.get(&id)?, self.apps.get(&id)?);
            let ports = &known.edge.ports;
            Some(network::app_network(app, &known.reach, ports, node))
        });
        plan.apps = apps.collect();
        Some(plan)
    }
}

/// True when others see a pod differently: where it is, or whether it is ready.
pub(super) fn shows(before: Option<&PodStatus>, now: &PodStatus) -> bool {
    let seen = |status: &PodStatus| (status.address, status.is_ready());
    before.map(seen) != Some(seen(now))
}

/// What of the network is to be written.
pub(super) type NewSubnets = Vec<(PodNetworkRow, SubnetRow)>;
