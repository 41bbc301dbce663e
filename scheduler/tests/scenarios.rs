//! Scenarios as text: each `> ` line in tests/scenarios/*.txt is something that happens, the lines
//! below it are what the planner does about it. `UPDATE_SCENARIOS=1 cargo test` writes the present
//! answers into the files, for a reviewer to read in the diff.

use std::{collections::BTreeMap, fs, path::Path};

use chrono::Duration;
use fairway_api::{
    ids::{AppId, PodId},
    routes::{CanaryTally, LATENCY_BOUNDS_MS, Tally},
};
use fairway_scheduler::snapshot::{NodeState, Pod, PodIntent, PodKind};

use crate::volumes;
use crate::world::{TypeOf, World, process_type, size, status};

#[test]
fn every_scenario_goes_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let update = std::env::var_os("UPDATE_SCENARIOS").is_some();
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let written = fs::read_to_string(&file).unwrap();
        let played = play(&written);
        if update {
            fs::write(&file, played).unwrap();
        } else {
            let name = file.file_name().unwrap().to_string_lossy();
            for (number, (was, is)) in written.lines().zip(played.lines()).enumerate() {
                assert_eq!(is, was, "{name}, line {}", number + 1);
            }
            assert_eq!(played, written, "{name}");
        }
    }
}

/// The scenario with the planner's answers in place of the written ones.
fn play(text: &str) -> String {
    let mut world = World::new();
    let app = world.add_app("shop");
    let mut played = String::new();
    for line in text.lines() {
        match line.strip_prefix("> ") {
            Some(happenings) => {
                played += &format!("{line}\n");
                for happening in happenings.split("; ") {
                    let words: Vec<_> = happening.split(' ').collect();
                    happen(&mut world, app, &words);
                }
                played += &answer(&mut world, app);
            }
            // Comments and blank lines stay; the answers are made anew.
            None if line.is_empty() || line.starts_with('#') => played += &format!("{line}\n"),
            None => {}
        }
    }
    played
}

fn answer(world: &mut World, app: AppId) -> String {
    let ids = world.app(app).pods.keys().copied().collect::<Vec<_>>();
    let labels: BTreeMap<PodId, String> = ids
        .into_iter()
        .map(|id| (id, world.label(app, id)))
        .collect();
    let steps = world.plan();
    let lines = steps
        .iter()
        .map(|step| format!("  {}\n", world.render(&labels, step)));
    if steps.is_empty() {
        "  nothing\n".into()
    } else {
        lines.collect()
    }
}

fn happen(world: &mut World, app: AppId, words: &[&str]) {
    match words {
        ["node", name, "ready"] => world.set_node_state(name, NodeState::Ready),
        ["node", name, "lost"] => world.set_node_state(name, NodeState::Lost),
        ["node", name, "suspected"] => world.set_node_state(name, NodeState::Suspected),
        ["node", name, "draining"] => world.set_node_state(name, NodeState::Draining),
        ["node", name, "cordoned"] => world.set_node_state(name, NodeState::Cordoned),
        ["node", name, "removed"] => world.remove_node(name),
        ["node", name, memory] => world.set_node(name, memory.parse().unwrap(), 2000),
        ["router", name] => {
            let generation = world.snapshot.routes_generation;
            world.report_router(name, generation, BTreeMap::new());
        }
        ["router", name, "drains", pods @ ..] => {
            let generation = world.snapshot.routes_generation;
            let draining = pods
                .iter()
                .map(|pod| (find(world, app, pod)[0], 2))
                .collect();
            world.report_router(name, generation, draining);
        }
        ["push", types @ ..] => deploy(world, app, types, true),
        ["deploy", types @ ..] => deploy(world, app, types, false),
        ["strategy", strategy @ ..] => {
            world.strategy = serde_json::from_str(&strategy.join(" ")).unwrap()
        }
        [verb @ ("pause" | "resume" | "abort" | "promote")] => {
            world.wish(app, verb.parse().unwrap())
        }
        ["router", name, "counts", stable, canary] => {
            let deployment = world.app(app).canary().expect("a canary");
            let tally = CanaryTally {
                step: deployment.step,
                stable: tally(stable),
                canary: tally(canary),
            };
            world.report_canary(name, deployment.deployment, tally);
        }
        ["scale", which] => {
            let (process_type, how) = which.split_once('=').unwrap();
            let (quantity, size) = how.split_once(':').unwrap_or((how, "standard-1x"));
            world.scale(app, process_type, quantity.parse().unwrap(), size);
        }
        ["restart", which] => {
            for pod in find(world, app, which) {
                world.restart(app, pod);
            }
        }
        ["volume", name, what @ ..] => volumes::happen(world, app, name, what),
        ["run", seconds] => run(world, app, seconds.parse().unwrap()),
        ["gone", pods @ ..] => {
            for pod in pods
                .iter()
                .flat_map(|pod| find(world, app, pod))
                .collect::<Vec<_>>()
            {
                world.app(app).pods.get_mut(&pod).unwrap().gone = true;
            }
        }
        ["wait", seconds] => world.now += Duration::seconds(seconds.parse().unwrap()),
        ["controller", "restarts"] => restart_controller(world),
        [pods, word] => {
            for pod in find(world, app, pods) {
                let seen = status(pod, word, world.now);
                world.app(app).pods.get_mut(&pod).unwrap().status = Some(seen);
            }
        }
        other => panic!("no such happening: {other:?}"),
    }
}

fn restart_controller(world: &mut World) {
    world.snapshot.routers.seen.clear();
    world.snapshot.routers.observing_since = world.now;
}

/// Pods by the end of their label, `web.1/v2#7`, `#7`, or all of a version, `v2`.
fn find(world: &mut World, app: AppId, which: &str) -> Vec<PodId> {
    let ids: Vec<_> = world.app(app).pods.keys().copied().collect();
    let found: Vec<_> = ids
        .into_iter()
        .filter(|&id| {
            let label = world.label(app, id);
            label == which
                || label.ends_with(which) && which.starts_with('#')
                || label.contains(&format!("/{which}#"))
                || label.starts_with(&format!("{which}#"))
        })
        .collect();
    let ids: Vec<_> = world.app(app).pods.keys().copied().collect();
    let all: Vec<_> = ids.iter().map(|id| world.label(app, *id)).collect();
    assert!(!found.is_empty(), "no pod is called {which}: {all:?}");
    found
}

/// `web`, `worker`, `web=2`: with the default of one web pod and none of the others.
fn types_of(words: &[&str]) -> Vec<TypeOf> {
    let type_of = |word: &&str| {
        let (name, quantity) = word.split_once('=').unwrap_or((word, ""));
        let default = u32::from(name == "web");
        TypeOf {
            name: name.into(),
            quantity: quantity.parse().unwrap_or(default),
        }
    };
    words.iter().map(type_of).collect()
}

fn deploy(world: &mut World, app: AppId, types: &[&str], from_push: bool) {
    let strategy = world.strategy.clone();
    world.deploy_by(app, &types_of(types), from_push, strategy);
}

/// `100/3/80`: requests, failures, and the milliseconds within which all were answered.
fn tally(text: &str) -> Tally {
    let numbers: Vec<u64> = text.split('/').map(|it| it.parse().unwrap()).collect();
    let bucket = LATENCY_BOUNDS_MS
        .iter()
        .position(|bound| numbers[2] <= u64::from(*bound));
    let mut tally = Tally {
        requests: numbers[0],
        errors: numbers[1],
        ..Tally::default()
    };
    tally.latencies[bucket.unwrap()] = numbers[0];
    tally
}

fn run(world: &mut World, app: AppId, time_to_live_secs: i64) {
    let (id, now) = (world.pod_id(), world.now);
    let app = world.app(app);
    let pod = Pod {
        id,
        release: app.current.unwrap(),
        kind: PodKind::Run,
        process_type: process_type("one-off"),
        ordinal: 4821,
        name: "run.4821".into(),
        size: size("standard-1x"),
        sidecars: Default::default(),
        node: None,
        unplaced: None,
        intent: PodIntent::Wanted,
        stop_at: Some(now + Duration::seconds(time_to_live_secs)),
        status: None,
        gone: false,
        created_at: now,
    };
    app.pods.insert(id, pod);
}
