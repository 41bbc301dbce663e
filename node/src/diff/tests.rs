use proptest::prelude::*;

use super::*;
use crate::testing::spec;

fn wanted(ids: &[u128]) -> Vec<Arc<PodSpec>> {
    ids.iter().map(|&id| Arc::new(spec(id))).collect()
}

fn seen(pod: u128, run: u32, state: State) -> Observed {
    let spec = Some(Box::new(spec(pod)));
    let stamp = Stamp {
        pod: PodId::from_u128(pod),
        container: ContainerName::main(),
        run,
        spec,
    };
    Observed {
        id: format!("c{pod}-{run}"),
        stamp,
        state,
        sandbox: None,
        cut_off: false,
    }
}

fn known(pods: &[(u128, Option<&str>, bool)]) -> BTreeMap<PodId, Known> {
    let known = |&(id, running, retiring): &(u128, Option<&str>, bool)| {
        (
            PodId::from_u128(id),
            Known {
                running: running.map(Into::into).into_iter().collect(),
                retiring,
            },
        )
    };
    pods.iter().map(known).collect()
}

/// What it comes to, short: `run 1`, `adopt c1-1`.
fn check(
    wanted: Option<&[Arc<PodSpec>]>,
    known: &BTreeMap<PodId, Known>,
    seen: Option<&[Observed]>,
) -> Vec<String> {
    let short = |step: &Step| match step {
        Step::Run(spec) => format!("run {}", spec.id.as_uuid().as_u128()),
        Step::Adopt(_, found) => {
            let ids: Vec<&str> = found.iter().map(|it| it.id.as_str()).collect();
            format!("adopt {}", ids.join(" "))
        }
        Step::Retire(pod) => format!("retire {}", pod.as_uuid().as_u128()),
        Step::Look(_, container) => format!("look {container}"),
        Step::Bury(observed) => format!("bury {}", observed.id),
    };
    diff(wanted, known, seen).iter().map(short).collect()
}

#[test]
fn without_a_plan_nothing_is_touched() {
    let running = [seen(1, 1, State::Running)];
    assert!(check(None, &known(&[(2, None, false)]), Some(&running)).is_empty());
}

#[test]
fn a_changed_plan_starts_what_is_new_and_retires_what_is_gone() {
    let known = known(&[(1, None, false), (2, None, false), (3, None, true)]);
    assert_eq!(
        check(Some(&wanted(&[2, 4])), &known, None),
        ["retire 1", "run 4"]
    );
}

#[test]
fn after_a_restart_the_latest_container_is_taken_up() {
    let containers = [
        seen(1, 1, State::Dead),
        seen(1, 2, State::Running),
        seen(1, 3, State::Created),
        seen(2, 1, State::Dead),
        seen(3, 1, State::Created),
    ];
    assert_eq!(
        check(Some(&wanted(&[1, 2, 3])), &known(&[]), Some(&containers)),
        [
            "adopt c1-2",
            "adopt c2-1",
            "run 3",
            "bury c1-1",
            "bury c1-3",
            "bury c3-1"
        ],
    );
}

#[test]
fn containers_of_forgotten_pods_are_stopped_by_their_own_policy() {
    let mut strange = seen(2, 1, State::Running);
    strange.stamp.spec = None;
    let containers = [seen(1, 1, State::Running), strange];
    assert_eq!(
        check(Some(&[]), &known(&[]), Some(&containers)),
        ["adopt c1-1", "retire 1", "bury c2-1"],
    );
}

#[test]
fn a_pod_whose_container_is_not_as_believed_looks() {
    let known = known(&[
        (1, Some("c1-1"), false),
        (2, Some("c2-1"), false),
        (3, None, false),
        (4, Some("c4-1"), false),
    ]);
    let mut containers = [
        seen(1, 1, State::Running),
        seen(2, 1, State::Dead),
        seen(3, 1, State::Running),
        seen(4, 1, State::Running),
    ];
    containers[3].cut_off = true;
    assert_eq!(
        check(Some(&wanted(&[1, 2, 3, 4])), &known, Some(&containers)),
        ["look c2-1", "look c4-1"]
    );
}

#[test]
fn the_containers_of_a_pod_are_taken_up_together() {
    let named = |pod, run, state, name: &str| {
        let mut it = seen(pod, run, state);
        it.stamp.container = name.parse().unwrap();
        it.id = format!("{}-{name}", it.id);
        it
    };
    let containers = [
        named(1, 1, State::Running, "main"),
        named(1, 1, State::Dead, "proxy"),
        named(1, 2, State::Running, "proxy"),
        named(2, 1, State::Running, "main"),
        named(2, 4, State::Running, "proxy"),
    ];
    assert_eq!(
        check(Some(&wanted(&[1])), &known(&[]), Some(&containers)),
        [
            "adopt c1-1-main c1-2-proxy",
            "bury c1-1-proxy",
            "adopt c2-1-main c2-4-proxy",
            "retire 2"
        ],
    );
}

proptest! {
    /// After the steps are done, comparing again finds nothing more to do.
    #[test]
    fn it_comes_to_rest(
        ids in proptest::collection::btree_set(1_u128..6, 0..6),
        tasks in proptest::collection::btree_set(1_u128..6, 0..6),
        containers in proptest::collection::btree_set((1_u128..6, 1_u32..3), 0..8),
        states in proptest::collection::vec(0_u8..3, 8),
    ) {
        let wanted = wanted(&ids.into_iter().collect::<Vec<_>>());
        let mut known: BTreeMap<PodId, Known> =
            tasks.into_iter().map(|id| (PodId::from_u128(id), Known::default())).collect();
        let mut containers: Vec<Observed> = containers
            .into_iter()
            .zip(states)
            .map(|((pod, run), state)| {
                seen(pod, run, [State::Created, State::Running, State::Dead][usize::from(state)])
            })
            .collect();
        for step in diff(Some(&wanted), &known, Some(&containers)) {
            match step {
                Step::Run(spec) | Step::Adopt(spec, _) => {
                    prop_assert!(known.insert(spec.id, Known::default()).is_none());
                }
                Step::Retire(pod) => known.get_mut(&pod).unwrap().retiring = true,
                Step::Look(..) => {}
                Step::Bury(observed) => containers.retain(|c| c.id != observed.id),
            }
        }
        prop_assert_eq!(diff(Some(&wanted), &known, Some(&containers)), vec![]);
        prop_assert!(wanted.iter().all(|spec| known.contains_key(&spec.id)));
    }
}
