//! Properties of the planner on arbitrary snapshots, consistent or not: whatever the database and
//! the reports say, planning ends, is a fixpoint and is deterministic.

use chrono::{DateTime, Duration, Utc};
use fairway_api::{
    deployments::{Wish, WishKind},
    ids::{AppId, PodId},
    names::NodeName,
};
use fairway_scheduler::{
    action::Action,
    plan,
    snapshot::{DeploymentState, Failure, NodeState, Pod, PodIntent, PodKind, Snapshot},
};
use proptest::prelude::*;

use crate::world::{TypeOf, World, process_type, size, status};

/// One arbitrary pod, as numbers.
type PodSeed = (u8, u8, u8, u8, u8, u8, i64);

const WORDS: [&str; 10] = [
    "pending",
    "starting",
    "ready",
    "unready",
    "crash:1",
    "exit:0",
    "exit:1",
    "never-ready",
    "refused:x",
    "stopping",
];

fn start() -> DateTime<Utc> {
    World::new().now
}

fn snapshot(
    nodes: &[(u8, u64)],
    releases: &[(u8, bool, u8)],
    pods: &[PodSeed],
    routers: &[(i64, u64)],
) -> Snapshot {
    let mut world = World::new();
    world.snapshot.routes_generation = 5;
    for (index, (state, memory)) in nodes.iter().enumerate() {
        let name = format!("n{index}");
        world.set_node(&name, 200 + memory * 100, 1000);
        let states = [
            NodeState::Ready,
            NodeState::Cordoned,
            NodeState::Draining,
            NodeState::Lost,
        ];
        world.set_node_state(&name, states[usize::from(*state) % 4]);
    }
    let app = world.add_app("shop");
    let mut ids = vec![];
    for (types, from_push, state) in releases {
        let mut of = vec![TypeOf {
            name: "web".into(),
            quantity: u32::from(types % 3),
        }];
        if types & 4 != 0 {
            of.push(TypeOf {
                name: "worker".into(),
                quantity: 1,
            });
        }
        if types & 8 != 0 {
            of.push(TypeOf {
                name: "release".into(),
                quantity: 0,
            });
        }
        ids.push(world.deploy(app, &of, *from_push));
        if *state % 3 == 0 {
            world.app(app).deployments.pop();
            world.app(app).current = ids.last().copied();
        }
    }
    if let Some((_, _, state)) = releases.last() {
        begin(&mut world, app, *state);
    }
    for seed in pods {
        let id = world.pod_id();
        let pod = pod(id, &ids, nodes.len(), *seed);
        world.app(app).pods.insert(id, pod);
    }
    for (index, (age, generation)) in routers.iter().enumerate() {
        let now = world.now;
        world.now = now - Duration::seconds(*age);
        world.report_router(
            &format!("r{index}"),
            *generation,
            std::collections::BTreeMap::new(),
        );
        world.now = now;
    }
    world.snapshot
}

/// Puts the oldest deployment into some state, whether that can be or not.
fn begin(world: &mut World, app: AppId, state: u8) {
    let app = world.app(app);
    let warm = app.releases.keys().next().copied();
    let Some((deployment, warm)) = app.deployments.first_mut().zip(warm) else {
        return;
    };
    let step = u32::from(state / 16 % 4);
    let failure = Failure {
        reason: "it failed".into(),
        lines: vec![],
    };
    let states = [
        DeploymentState::Starting,
        DeploymentState::Rolling { replaced: step },
        DeploymentState::RollingBack {
            failure,
            restored: step,
        },
        DeploymentState::CanaryStarting {
            step,
            share: step.checked_sub(1),
        },
        DeploymentState::Canary { step },
        DeploymentState::Paused {
            resumes: Box::new(DeploymentState::Rolling { replaced: 0 }),
            left_secs: 9,
        },
        DeploymentState::Switching {
            generation: Some(step.into()),
            warm: Some(warm),
        },
        DeploymentState::Baking { warm },
    ];
    if let Some(state) = states.into_iter().nth(usize::from(state % 16)) {
        deployment.state = state;
        let strategies = [
            r#"{ "kind": "rolling", "unavailable": "1" }"#,
            r#"{ "kind": "canary", "steps": [{ "percent": 20, "secs": 60 }], "bake_secs": 60 }"#,
        ];
        deployment.strategy = serde_json::from_str(strategies[step as usize % 2]).unwrap();
        let kinds = [WishKind::Pause, WishKind::Promote, WishKind::Abort];
        deployment.wish = kinds.get(step as usize).map(|kind| Wish {
            kind: *kind,
            by: "ana".into(),
        });
    }
}

fn pod(
    id: PodId,
    releases: &[fairway_api::ids::ReleaseId],
    nodes: usize,
    (release, kind, ordinal, node, intent, word, age): PodSeed,
) -> Pod {
    let kinds = [
        PodKind::Service,
        PodKind::Service,
        PodKind::ReleasePhase,
        PodKind::Run,
        PodKind::Job,
    ];
    let kind = kinds[usize::from(kind) % 5];
    let name = ["web", "worker", "web"][usize::from(release) % 3];
    let now = start();
    let bound = (nodes > 0 && node > 40).then(|| -> NodeName {
        // Now and then a machine that is none.
        format!("n{}", usize::from(node) % (nodes + 1))
            .parse()
            .unwrap()
    });
    let word = WORDS.get(usize::from(word) % (WORDS.len() + 2));
    Pod {
        id,
        release: releases[usize::from(release) % releases.len()],
        kind,
        process_type: process_type(name),
        ordinal: u32::from(ordinal % 4),
        name: format!("{name}.{ordinal}"),
        size: size(["standard-1x", "nano", "no-such-size"][usize::from(ordinal) % 3]),
        sidecars: Default::default(),
        status: bound.as_ref().and(word).map(|word| status(id, word, now)),
        node: bound,
        unplaced: (node > 200).then(|| "an old reason".into()),
        intent: match intent % 4 {
            0 => PodIntent::Stopping,
            1 => PodIntent::Retired {
                at: now - Duration::seconds(age),
                unrouted_in: 3,
            },
            _ => PodIntent::Wanted,
        },
        stop_at: (intent > 128).then(|| now + Duration::seconds(age - 50)),
        gone: intent % 8 == 0,
        created_at: now - Duration::seconds(age),
    }
}

fn snapshots() -> impl Strategy<Value = Snapshot> {
    (
        prop::collection::vec((any::<u8>(), 0..80u64), 0..4),
        prop::collection::vec(any::<(u8, bool, u8)>(), 1..6),
        prop::collection::vec(
            (
                any::<u8>(),
                any::<u8>(),
                any::<u8>(),
                any::<u8>(),
                any::<u8>(),
                any::<u8>(),
                0..400i64,
            ),
            0..24,
        ),
        prop::collection::vec((0..40i64, 0..8u64), 0..3),
    )
        .prop_map(|(nodes, releases, pods, routers)| snapshot(&nodes, &releases, &pods, &routers))
}

fn fresh_ids() -> impl FnMut() -> PodId {
    let mut last = 1 << 64;
    move || {
        last += 1;
        PodId::from_u128(last)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn planning_again_adds_nothing(snapshot in snapshots()) {
        let mut ids = fresh_ids();
        let made = plan(snapshot, start(), &mut ids);
        let again = plan(made.after.clone(), start(), &mut ids);
        prop_assert_eq!(again.steps, vec![]);
        prop_assert!(made.wake_at.is_none_or(|at| at > start()));
    }

    #[test]
    fn equal_input_gives_an_equal_plan(snapshot in snapshots()) {
        let one = plan(snapshot.clone(), start(), &mut fresh_ids());
        let other = plan(snapshot, start(), &mut fresh_ids());
        prop_assert_eq!(one.steps, other.steps);
        prop_assert_eq!(one.after, other.after);
    }

    /// `after` is what carrying out the steps makes of the snapshot, one by one.
    #[test]
    fn the_steps_lead_to_what_the_plan_says(snapshot in snapshots()) {
        let made = plan(snapshot.clone(), start(), &mut fresh_ids());
        let mut played = snapshot;
        for step in &made.steps {
            played.apps.get_mut(&step.app).unwrap().apply(&step.action, start());
        }
        prop_assert_eq!(played.apps, made.after.apps);
    }

    /// No pod is bound to a machine that does not take pods.
    #[test]
    fn only_ready_machines_get_pods(snapshot in snapshots()) {
        let made = plan(snapshot, start(), &mut fresh_ids());
        for step in &made.steps {
            if let Action::Bind { node, .. } = &step.action {
                prop_assert_eq!(made.after.nodes[node].state, NodeState::Ready);
            }
        }
    }
}
