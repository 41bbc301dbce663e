//! How many waiting pods a second the planner binds, on clusters up to 5,000 machines and 150,000
//! pods. Run by `bin/bench placement`.
//!
//! Each case is planned once, cold: counting what is promised, filtering, scoring, the bindings and
//! a second look at every app are all in the time. Rates are per second of processor time, which
//! other programs on the machine do not lengthen.
#![expect(clippy::print_stdout, reason = "a measurement prints")]

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use chrono::{DateTime, Duration, Utc};
use fairway_api::{
    ids::{AppId, PodId, ReleaseId},
    names::{ProcessType, SizeName},
    placement::Placement,
    pods::{PodPhase, PodStatus},
    sizes::Resources,
};
use fairway_scheduler::{
    Planner,
    action::Action,
    jobs::Jobs,
    policy::Policy,
    snapshot::{
        App, Facts, Node, NodeState, Pod, PodIntent, PodKind, Release, ReleaseType, Routers,
        Snapshot, Want,
    },
};

const ZONES: usize = 3;
/// What the brief asks for, in pods a second.
const AIM: f64 = 10_000.0;

struct Case {
    name: &'static str,
    nodes: usize,
    apps: usize,
    pods_per_app: u32,
    /// Of every app's pods so many run already.
    running: u32,
    placement: &'static str,
}

const HARD: &str = r#"{ "require": ["zone"], "spread": [{ "by": "zone", "mode": "hard" }],
                        "apart": [{ "type": "web", "by": "node", "mode": "hard" }] }"#;

const CASES: [Case; 6] = [
    Case {
        name: "everything at once",
        nodes: 1_000,
        apps: 1_000,
        pods_per_app: 30,
        running: 0,
        placement: "{}",
    },
    Case {
        name: "everything at once",
        nodes: 5_000,
        apps: 5_000,
        pods_per_app: 30,
        running: 0,
        placement: "{}",
    },
    Case {
        name: "hard spread and apart",
        nodes: 5_000,
        apps: 5_000,
        pods_per_app: 30,
        running: 0,
        placement: HARD,
    },
    Case {
        name: "every app scaled by 5",
        nodes: 5_000,
        apps: 5_000,
        pods_per_app: 30,
        running: 25,
        placement: "{}",
    },
    Case {
        name: "one pod of each app lost",
        nodes: 5_000,
        apps: 5_000,
        pods_per_app: 30,
        running: 29,
        placement: "{}",
    },
    Case {
        name: "10,000 apps of one pod",
        nodes: 5_000,
        apps: 10_000,
        pods_per_app: 1,
        running: 0,
        placement: "{}",
    },
];

fn main() {
    println!(
        "{:<26}{:>8}{:>10}{:>10}{:>9}{:>9}{:>10}",
        "", "nodes", "running", "placed", "ms", "CPU ms", "pods/s"
    );
    let mut worst = f64::INFINITY;
    for case in &CASES {
        let mut planner = Planner::new(world(case));
        let mut last = 1 << 96;
        let (began, cpu_before) = (Instant::now(), cpu_secs());
        let decision = planner.plan(start(), &mut || {
            last += 1;
            PodId::from_u128(last)
        });
        let took = began.elapsed();
        let on_cpu = cpu_secs() - cpu_before;
        let bound = |action: &Action| matches!(action, Action::Bind { .. });
        let placed = decision
            .steps
            .iter()
            .filter(|step| bound(&step.action))
            .count();
        let waiting = case.apps * (case.pods_per_app - case.running) as usize;
        assert_eq!(
            placed, waiting,
            "{}: not all pods found a machine",
            case.name
        );
        #[expect(
            clippy::cast_precision_loss,
            reason = "of pods there are fewer than 2^52"
        )]
        let rate = placed as f64 / on_cpu;
        worst = worst.min(rate);
        println!(
            "{:<26}{:>8}{:>10}{:>10}{:>9}{:>9.0}{:>10.0}",
            case.name,
            case.nodes,
            case.apps * case.running as usize,
            placed,
            took.as_millis(),
            on_cpu * 1e3,
            rate
        );
    }
    println!(
        "ratio: {:.2} the aim of 10,000 pods/s, in the slowest case",
        AIM / worst
    );
}

/// Seconds that this thread has run.
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
    let nanos: f64 = stat
        .split(' ')
        .next()
        .and_then(|it| it.parse().ok())
        .expect("a number");
    nanos / 1e9
}

fn start() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::days(20_000)
}

fn world(case: &Case) -> Snapshot {
    let node = |n: usize| {
        let zone = (
            "zone".parse().expect("a key"),
            format!("z{}", n % ZONES).parse().expect("a value"),
        );
        let node = Node {
            state: NodeState::Ready,
            capacity: Some(Resources {
                memory_bytes: 16 << 30,
                cpu_millis: 8_000,
                pids: 1 << 15,
            }),
            facts: Arc::new(Facts {
                labels: [zone].into(),
                ..Facts::default()
            }),
            lost_at: None,
        };
        (format!("node-{n}").parse().expect("a name"), node)
    };
    let app = |n: usize| {
        let app = app(case, n);
        (app.id, app)
    };
    Snapshot {
        nodes: (0..case.nodes).map(node).collect(),
        apps: (0..case.apps).map(app).collect(),
        routers: Routers {
            observing_since: start() - Duration::hours(1),
            seen: BTreeMap::new(),
        },
        routes_generation: 1,
        policy: Policy::default(),
    }
}

fn app(case: &Case, n: usize) -> App {
    let number = n as u128 + 1;
    let (id, release) = (AppId::from_u128(number), ReleaseId::from_u128(number));
    let size: SizeName = "standard-1x".parse().expect("a size");
    let want = Want {
        quantity: case.pods_per_app,
        size: size.clone(),
    };
    let placement: Placement = serde_json::from_str(case.placement).expect("a placement");
    let web = ReleaseType {
        initial: want,
        startup_deadline_secs: 60,
        placement: Arc::new(placement),
        volumes: vec![],
        sidecars: Default::default(),
    };
    let release = Release {
        id: release,
        version: 1,
        types: [(ProcessType::web(), web)].into(),
        cron: Arc::default(),
        one_off_sidecars: Default::default(),
    };
    let pod = |ordinal: u32| {
        let id = PodId::from_u128((number << 32) + u128::from(ordinal));
        // Far from each other, so that the cluster is filled evenly.
        let node = (n * 30 + ordinal as usize) % case.nodes;
        let runs = ordinal <= case.running;
        let pod = Pod {
            id,
            release: release.id,
            kind: PodKind::Service,
            process_type: ProcessType::web(),
            ordinal,
            name: format!("web.{ordinal}"),
            size: size.clone(),
            sidecars: Default::default(),
            node: runs.then(|| format!("node-{node}").parse().expect("a name")),
            unplaced: None,
            intent: PodIntent::Wanted,
            stop_at: None,
            status: runs.then(|| running(id)),
            gone: false,
            created_at: start(),
        };
        (id, pod)
    };
    App {
        id,
        name: format!("app-{n}").parse().expect("a name"),
        current: Some(release.id),
        pods: (1..=case.pods_per_app).map(pod).collect(),
        jobs: Jobs::default(),
        releases: [(release.id, release)].into(),
        formation: BTreeMap::new(),
        placements: BTreeMap::new(),
        deployments: vec![],
        volumes: BTreeMap::new(),
    }
}

fn running(id: PodId) -> PodStatus {
    PodStatus {
        id,
        phase: PodPhase::Running { ready: true },
        address: None,
        restarts: 0,
        started_at: None,
        last_exit: None,
        check_failure: None,
        containers: vec![],
    }
}
