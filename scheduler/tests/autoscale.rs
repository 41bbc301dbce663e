//! Autoscaling in a closed loop: load is divided among the pods that are up, what comes of it is
//! measured, the decision changes the count, and new pods take a while to start.

use chrono::{DateTime, Duration, TimeZone, Utc};
use fairway_api::autoscale::Autoscale;
use fairway_scheduler::autoscale::{
    Memory, Seen, Situation, Traffic, Use, WINDOW_SECS, Waiting, decide,
};
use proptest::prelude::*;

/// Seconds between two decisions.
const STEP_SECS: i64 = 5;
/// Seconds from the decision for a pod until it is up.
const START_SECS: i64 = 20;
/// What one pod can do, in requests per second.
const CAPACITY: f64 = 100.0;
/// How long a request takes that waits for nobody, in seconds.
const SERVICE_SECS: f64 = 0.02;

fn policy() -> Autoscale {
    Autoscale {
        min: 1,
        max: 20,
        cpu: None,
        memory: None,
        rps: None,
        p95_ms: None,
        concurrency: None,
        queue: None,
        windows: vec![],
        down_after_secs: 60,
    }
}

/// One policy per target, all of which come to about 70 requests per second and pod.
fn policies() -> Vec<Autoscale> {
    vec![
        Autoscale {
            cpu: Some(70),
            ..policy()
        },
        Autoscale {
            rps: Some(70),
            ..policy()
        },
        Autoscale {
            concurrency: Some(5),
            ..policy()
        },
        Autoscale {
            p95_ms: Some(250),
            ..policy()
        },
        Autoscale {
            cpu: Some(70),
            rps: Some(70),
            p95_ms: Some(250),
            ..policy()
        },
    ]
}

struct Loop {
    policy: Autoscale,
    memory: Memory,
    now: DateTime<Utc>,
    /// When each pod is up.
    pods: Vec<DateTime<Utc>>,
    deploying: bool,
    told: bool,
    /// What waits; `None` for a process type that gets requests.
    waiting: Option<Waiting>,
    /// The bounds are the policy's own.
    bounded: bool,
    reason: String,
}

impl Loop {
    fn new(policy: Autoscale, pods: u32) -> Self {
        let now = Utc.timestamp_opt(1_800_000_000, 0).unwrap();
        Self {
            policy,
            memory: Memory::default(),
            now,
            pods: vec![now - Duration::hours(1); pods as usize],
            deploying: false,
            told: true,
            waiting: None,
            bounded: true,
            reason: String::new(),
        }
    }

    fn seen(&self, load: f64) -> Seen {
        let up = self.pods.iter().filter(|at| **at <= self.now).count();
        let measured = self.now - Duration::seconds(WINDOW_SECS);
        let busy = (load / up.max(1) as f64 / CAPACITY).min(0.99);
        let open = load.min(up as f64 * CAPACITY) * SERVICE_SECS / (1.0 - busy);
        let used = Use {
            cpu: busy * 100.0,
            memory: 40.0,
        };
        let traffic = Traffic {
            rps: load,
            open,
            held: u32::from(up == 0 && load > 0.0),
            p95_ms: (load > 0.0).then(|| 3_000.0 * SERVICE_SECS / (1.0 - busy)),
        };
        let pods = self.pods.iter().filter(|at| **at <= measured);
        Seen {
            traffic: (self.told && self.waiting.is_none()).then_some(traffic),
            queue: self.waiting.clone().unwrap_or_default(),
            pods: pods.filter(|_| self.told).map(|_| used).collect(),
        }
    }

    /// One decision under this load; gives the count.
    fn step(&mut self, load: f64) -> u32 {
        self.now += Duration::seconds(STEP_SECS);
        let seen = self.seen(load);
        let situation = Situation {
            policy: &self.policy,
            quantity: self.pods.len() as u32,
            up: self.pods.iter().filter(|at| **at <= self.now).count() as u32,
            is_web: self.waiting.is_none(),
            deploying: self.deploying,
            seen: &seen,
            now: self.now,
        };
        let mut twin = self.memory.clone();
        let verdict = decide(&mut self.memory, &situation);
        assert_eq!(verdict, decide(&mut twin, &situation), "the same again");
        assert!(
            !self.bounded || (self.policy.min..=self.policy.max).contains(&verdict.wanted),
            "{verdict:?} is out of bounds"
        );
        let up_at = self.now + Duration::seconds(START_SECS);
        self.pods.resize(verdict.wanted as usize, up_at);
        self.reason = verdict.reason;
        verdict.wanted
    }

    fn run(&mut self, minutes: i64, load: impl Fn(f64) -> f64) -> Vec<u32> {
        let steps = minutes * 60 / STEP_SECS;
        (0..steps)
            .map(|step| self.step(load((step * STEP_SECS) as f64)))
            .collect()
    }
}

fn turns(counts: &[u32]) -> usize {
    counts.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

/// How often it went up after it had gone down, and the other way round.
fn reversals(counts: &[u32]) -> usize {
    let moves = counts.windows(2).filter(|pair| pair[0] != pair[1]);
    let ups: Vec<bool> = moves.map(|pair| pair[1] > pair[0]).collect();
    ups.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

/// What a load needs, give or take what the target's tolerance allows.
fn assert_fits(count: u32, load: f64, policy: &Autoscale) {
    let per_pod = load / f64::from(count);
    assert!(
        per_pod < 90.0,
        "{count} pods are too few for {load}: {policy:?}"
    );
    let fewer = load / f64::from(count.saturating_sub(2).max(1));
    let needed = count <= policy.min.max(1) || fewer > 25.0;
    assert!(needed, "{count} pods are too many for {load}: {policy:?}");
}

#[test]
fn a_step_of_load_is_followed_up_at_once_and_down_after_the_wait() {
    for policy in policies() {
        let mut it = Loop::new(policy.clone(), 1);
        it.run(5, |_| 30.0);
        assert_eq!(it.pods.len(), 1, "{policy:?}");
        it.run(12, |_| 500.0);
        let high = it.pods.len() as u32;
        assert_fits(high, 500.0, &policy);
        // Not before the wait is over.
        let during = it.run(1, |_| 50.0);
        assert_eq!(during[..10], [high; 10], "{policy:?}: {}", it.reason);
        it.run(60, |_| 50.0);
        assert_fits(it.pods.len() as u32, 50.0, &policy);
    }
}

#[test]
fn a_ramp_is_followed_and_a_constant_load_is_left_alone() {
    for policy in policies() {
        let mut it = Loop::new(policy.clone(), 1);
        let counts = it.run(30, |at| 20.0 + at / 3.0);
        assert!(turns(&counts) < 30, "{policy:?}: {counts:?}");
        it.run(15, |_| 620.0);
        let counts = it.run(30, |_| 620.0);
        assert_eq!(turns(&counts), 0, "{policy:?}: {counts:?}");
    }
}

#[test]
fn growth_has_a_limit_and_so_has_its_opposite() {
    let rps = Autoscale {
        rps: Some(1),
        max: 1_000,
        ..policy()
    };
    let mut it = Loop::new(rps, 1);
    let counts = it.run(2, |_| 900.0);
    for pair in counts.windows(3) {
        assert!(pair[2] <= (2 * pair[0]).max(pair[0] + 4) * 2, "{counts:?}");
    }
    assert!(counts[0] <= 5, "{counts:?}");
    it.run(3, |_| 900.0);
    let high = it.pods.len() as u32;
    let counts = it.run(2, |_| 0.0);
    assert_eq!(counts.last(), Some(&(high / 2)), "{counts:?}");
}

#[test]
fn what_is_not_known_never_takes_pods_away() {
    for policy in policies() {
        let mut it = Loop::new(policy.clone(), 6);
        it.told = false;
        let counts = it.run(30, |_| 0.0);
        assert_eq!(turns(&counts), 0, "{policy:?}: {counts:?}");
        assert!(it.reason.contains("known"), "{}", it.reason);
        // Nor does a deployment, and what it showed counts as what was asked for.
        it.told = true;
        it.deploying = true;
        let counts = it.run(30, |_| 0.0);
        assert_eq!(counts, vec![6; counts.len()], "{policy:?}");
        it.deploying = false;
        let counts = it.run(1, |_| 0.0);
        assert_eq!(counts[..10], [6; 10], "{policy:?}");
    }
}

#[test]
fn what_somebody_else_sets_is_where_it_goes_on_from() {
    let mut it = Loop::new(
        Autoscale {
            cpu: Some(70),
            ..policy()
        },
        2,
    );
    it.run(10, |_| 100.0);
    let up = it.now;
    it.pods = vec![up; 8];
    let counts = it.run(1, |_| 100.0);
    assert_eq!(counts[..10], [8; 10]);
    it.run(20, |_| 100.0);
    assert_eq!(it.pods.len(), 2);
    // Out of bounds it comes back at once.
    it.pods = vec![up; 50];
    assert_eq!(it.step(100.0), 20);
}

#[test]
fn without_requests_the_last_pod_ends_and_a_request_brings_it_back() {
    for policy in policies() {
        let mut it = Loop::new(
            Autoscale {
                min: 0,
                ..policy.clone()
            },
            3,
        );
        it.run(2, |_| 100.0);
        let counts = it.run(20, |_| 0.0);
        assert!(counts[10] > 0, "{policy:?}: too early: {counts:?}");
        assert_eq!(counts.last(), Some(&0), "{policy:?}: {}", it.reason);
        assert_eq!(it.step(5.0), 1, "{policy:?}: {}", it.reason);
        // It stays for a while although the one request is answered.
        let counts = it.run(1, |_| 0.0);
        assert!(
            counts[..9].iter().all(|count| *count == 1),
            "{policy:?}: {counts:?}"
        );
        // One request now and then keeps it.
        let seldom = it.run(20, |at| if at as i64 % 30 == 0 { 0.1 } else { 0.0 });
        assert!(
            seldom[12..].iter().all(|count| *count == 1),
            "{policy:?}: {seldom:?}"
        );
    }
}

fn with_queue(min: u32) -> Autoscale {
    let queue = serde_json::json!({ "url": "http://web.a.internal/jobs", "target": 10 });
    Autoscale {
        min,
        queue: Some(serde_json::from_value(queue).unwrap()),
        ..policy()
    }
}

#[test]
fn a_worker_follows_its_queue_down_to_nothing_and_back() {
    let mut it = Loop::new(with_queue(0), 2);
    let waits = |it: &mut Loop, jobs: f64| it.waiting = Some(Waiting::Jobs(jobs));
    waits(&mut it, 20.0);
    assert_eq!(it.run(2, |_| 0.0).last(), Some(&2), "{}", it.reason);
    waits(&mut it, 0.0);
    let counts = it.run(3, |_| 0.0);
    assert!(counts[..10].iter().all(|count| *count > 0), "{counts:?}");
    assert_eq!(counts.last(), Some(&0), "{}", it.reason);
    assert!(
        it.reason.starts_with("asleep until jobs wait"),
        "{}",
        it.reason
    );
    // What is not known wakes nobody, and takes nobody away.
    it.waiting = Some(Waiting::Unknown("it did not answer".into()));
    assert_eq!(it.step(0.0), 0);
    assert!(it.reason.contains("it did not answer"), "{}", it.reason);
    waits(&mut it, 1.0);
    assert_eq!(it.step(0.0), 1, "{}", it.reason);
    waits(&mut it, 120.0);
    assert!(it.step(0.0) > 1);
    assert_eq!(it.run(1, |_| 0.0).last(), Some(&12), "{}", it.reason);
    assert_eq!(it.reason, "120 jobs wait, target 10 per pod");
    it.waiting = Some(Waiting::Unknown("it did not answer".into()));
    assert_eq!(it.run(5, |_| 0.0).last(), Some(&12));
    // A web process type does not sleep while jobs wait either.
    let mut web = Loop::new(with_queue(0), 1);
    assert_eq!(web.run(5, |_| 0.0).last(), Some(&1), "{}", web.reason);
}

#[test]
fn windows_have_bounds_of_their_own() {
    // From 9 to 10 minutes after the loop begins, and from 20 to 30.
    let start = Loop::new(policy(), 1).now;
    let window = |from: i64, to: i64, bounds: serde_json::Value| {
        let at = |minutes| {
            (start + Duration::minutes(minutes))
                .format("%H:%M")
                .to_string()
        };
        let mut window = bounds;
        window["from"] = at(from).into();
        window["to"] = at(to).into();
        serde_json::from_value(window).unwrap()
    };
    let mut it = Loop::new(
        Autoscale {
            rps: Some(100),
            windows: vec![
                window(9, 10, serde_json::json!({ "min": 7 })),
                window(20, 30, serde_json::json!({ "max": 1 })),
                window(21, 30, serde_json::json!({ "min": 5 })),
            ],
            ..policy()
        },
        3,
    );
    it.bounded = false;
    assert_eq!(it.run(8, |_| 300.0).last(), Some(&3));
    assert_eq!(it.run(1, |_| 300.0).last(), Some(&7), "{}", it.reason);
    assert!(it.reason.ends_with(" UTC)"), "{}", it.reason);
    assert_eq!(it.run(10, |_| 300.0).last(), Some(&3), "{}", it.reason);
    assert_eq!(
        it.run(3, |_| 300.0).last(),
        Some(&1),
        "the first that holds counts"
    );
}

proptest! {
    #[test]
    fn counts_stay_in_bounds_and_cover_a_noisy_load(
        which in 0_usize..5,
        min in 0_u32..4,
        extra in 1_u32..30,
        pods in 0_u32..60,
        load in 0.0..1500.0_f64,
        noise in prop::collection::vec(0.95..1.05_f64, 240),
        blind in prop::collection::vec(prop::bool::weighted(0.1), 240),
    ) {
        let policy = Autoscale { min, max: min + extra, ..policies()[which].clone() };
        let mut it = Loop::new(policy.clone(), pods);
        let mut counts = Vec::new();
        for (noise, blind) in noise.iter().zip(&blind) {
            it.told = !blind;
            // `step` holds the count against the bounds.
            let before = it.pods.len() as u32;
            let now = it.step(load * noise);
            if *blind {
                prop_assert!(now >= before || before > policy.max, "{} of {}", now, before);
            }
            counts.push(now);
        }
        if load > 60.0 {
            let most = f64::from(policy.max);
            let count = f64::from(*counts.last().unwrap());
            prop_assert!(load / count < 100.0 || count >= most, "{:?} {:?}", policy, counts);
        }
        // Settled: the last ten minutes see no back and forth.
        prop_assert!(reversals(&counts[120..]) <= 2, "{:?} {:?}", policy, counts);
    }
}
