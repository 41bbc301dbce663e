//! Volumes: one pod at a time, whatever the network does. Where a local one binds its pods to stands
//! in `scenarios/volumes.txt`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use fairway_api::{
    ids::{AppId, PodId},
    volumes::lease::{Lease, Right},
};
use fairway_scheduler::snapshot::{NodeState, PodIntent, Volume};

use crate::{
    sim::Dice,
    world::{TypeOf, World, status},
};

const MIB: u64 = 1024 * 1024;

/// A volume on one machine's disk that is nowhere yet.
pub(crate) fn local(name: &str, size_mib: u64) -> Volume {
    Volume {
        name: name.parse().unwrap(),
        local: true,
        shared: false,
        size_bytes: size_mib * MIB,
        node: None,
        hindrance: None,
    }
}

/// Something that happens to a volume in a scenario.
pub(crate) fn happen(world: &mut World, app: AppId, name: &str, what: &[&str]) {
    if let ["on", process_type] = what {
        world.set_disks(10 * 1024);
        world.mount(app, local(name, 1024), process_type);
        return;
    }
    let mut volumes = world.app(app).volumes.values_mut();
    let volume = volumes.find(|it| it.name.as_str() == name).unwrap();
    match what {
        ["moves"] => volume.hindrance = Some("is being moved to another machine"),
        ["moved", node] => {
            volume.hindrance = None;
            volume.node = Some(node.parse().unwrap());
        }
        other => panic!("no such happening to a volume: {other:?}"),
    }
}

fn worker(quantity: u32) -> TypeOf {
    TypeOf {
        name: "worker".into(),
        quantity,
    }
}

#[test]
fn volumes_are_promised_of_disks_and_a_full_one_says_so() {
    let mut world = World::new();
    world.set_node("n1", 4096, 4000);
    world.set_node("n2", 4096, 4000);
    world.set_disks(1000);
    let mut place = |name: &str, size_mib| {
        let app = world.add_app(name);
        world.mount(app, local("data", size_mib), "worker");
        world.deploy(app, &[worker(1)], false);
        world.plan();
        let pod = world.app(app).pods.values().next().unwrap();
        (pod.node.clone(), pod.unplaced.clone())
    };
    let (first, _) = place("one", 700);
    let (second, _) = place("two", 700);
    assert!(first.is_some() && second.is_some() && first != second);
    let (nowhere, why) = place("three", 400);
    assert_eq!(nowhere, None);
    assert_eq!(
        why.unwrap(),
        "n1: its disk is promised: 700 of 1000 MiB are volumes', 400 MiB more are needed\n\
         n2: its disk is promised: 700 of 1000 MiB are volumes', 400 MiB more are needed"
    );
    assert!(place("four", 300).0.is_some());
}

/// A machine with a clock of its own that reaches the controller or does not.
#[derive(Default)]
struct Machine {
    orders: BTreeSet<PodId>,
    generation: u64,
    lease: Lease,
    /// What runs, and for how many more seconds once it was asked to stop.
    running: BTreeMap<PodId, Option<i64>>,
    cut_off: bool,
    heard_at: Option<DateTime<Utc>>,
    /// Its clock runs so many percent too fast.
    fast_percent: i64,
    newest: (u64, BTreeSet<PodId>),
}

impl Machine {
    /// Its own monotonic clock.
    fn clock(&self, now: DateTime<Utc>) -> std::time::Duration {
        let millis = (now - DateTime::UNIX_EPOCH).num_milliseconds();
        let millis = millis + millis * self.fast_percent / 100;
        std::time::Duration::from_millis(millis.unsigned_abs())
    }

    fn act(&mut self, now: DateTime<Utc>, step_secs: i64, dice: &mut Dice) {
        let right = self.lease.right(self.clock(now));
        for (pod, stops_in) in &mut self.running {
            *stops_in = match (*stops_in, right, self.orders.contains(pod)) {
                (_, Right::Kill, _) => Some(0),
                (Some(left), _, _) => Some(left - step_secs),
                (None, Right::Run, true) => None,
                (None, ..) => Some(dice.roll(40).cast_signed()),
            };
        }
        self.running
            .retain(|_, stops_in| stops_in.is_none_or(|left| left > 0));
        if right == Right::Run {
            let missing = self.orders.iter().filter(|_| dice.chance(70));
            for pod in missing {
                self.running.entry(*pod).or_default();
            }
        }
    }

    fn talk(&mut self, name: &str, world: &mut World, app: AppId, dice: &mut Dice) {
        if self.cut_off {
            return;
        }
        if dice.chance(60) {
            (self.generation, self.orders) = self.newest.clone();
        }
        if dice.chance(80) {
            self.heard_at = Some(world.now);
            let now = world.now;
            let pods = world.app(app).pods.values_mut();
            let here = pods.filter(|pod| pod.node.as_ref().is_some_and(|it| it.as_str() == name));
            for pod in here {
                let known = self.running.contains_key(&pod.id) || self.orders.contains(&pod.id);
                if self.running.contains_key(&pod.id) {
                    pod.status = Some(status(pod.id, "ready", now));
                } else if !known
                    && pod.intent == PodIntent::Stopping
                    && self.generation == self.newest.0
                {
                    pod.gone = true;
                }
            }
            // The answer may be lost, and counts only for who has the newest orders.
            if self.generation == self.newest.0 && dice.chance(90) {
                self.lease.renew(self.clock(now));
            }
        }
    }

    fn state(&self, now: DateTime<Utc>) -> NodeState {
        let silent = self.heard_at.map(|at| (now - at).num_seconds());
        if silent.is_none_or(|secs| secs > 10) {
            NodeState::Lost
        } else {
            NodeState::Ready
        }
    }

    fn publish(&mut self, name: &str, world: &World, app: AppId) {
        let pods = world.snapshot.apps[&app].pods.values();
        let orders: BTreeSet<PodId> = pods
            .filter(|pod| pod.intent != PodIntent::Stopping)
            .filter(|pod| pod.node.as_ref().is_some_and(|it| it.as_str() == name))
            .map(|pod| pod.id)
            .collect();
        if orders != self.newest.1 {
            self.newest = (self.newest.0 + 1, orders);
        }
    }
}

/// A volume that every machine can reach, held by one worker, while machines are cut off, drained
/// and come back, and releases follow each other.
fn play(seed: u64) {
    let mut dice = Dice::new(seed);
    let mut world = World::new();
    let mut machines: BTreeMap<String, Machine> = BTreeMap::new();
    for n in 0..3 {
        let name = format!("n{n}");
        world.set_node(&name, 4096, 4000);
        let machine = Machine {
            fast_percent: dice.roll(7).cast_signed() - 3,
            ..Machine::default()
        };
        machines.insert(name, machine);
    }
    let app = world.add_app("shop");
    let volume = Volume {
        local: false,
        size_bytes: 0,
        ..local("files", 0)
    };
    world.mount(app, volume, "worker");
    world.deploy(app, &[worker(1)], false);
    let mut moved = BTreeSet::new();
    for step in 0..700 {
        let well = step >= 500;
        let secs = dice.roll(4).cast_signed() + 1;
        world.now += Duration::seconds(secs);
        for (name, machine) in &mut machines {
            if dice.chance(3) || well {
                machine.cut_off = !well && !machine.cut_off;
            }
            machine.act(world.now, secs, &mut dice);
            machine.talk(name, &mut world, app, &mut dice);
            world.set_node_state(name, machine.state(world.now));
        }
        if !well && dice.chance(2) {
            world.deploy(app, &[worker(1)], false);
        }
        world.plan();
        for (name, machine) in &mut machines {
            machine.publish(name, &world, app);
        }
        let having: Vec<_> = machines
            .iter()
            .filter(|(_, it)| !it.running.is_empty())
            .collect();
        assert!(
            having.len() <= 1,
            "seed {seed}, step {step}: two machines write"
        );
        moved.extend(having.iter().map(|(name, _)| (*name).clone()));
    }
    let running: usize = machines.values().map(|it| it.running.len()).sum();
    assert_eq!(running, 1, "seed {seed}: the volume's pod is to come back");
    assert!(!moved.is_empty());
}

#[test]
fn no_two_machines_ever_write_a_leased_volume() {
    for seed in 0..60 {
        play(seed);
    }
}
