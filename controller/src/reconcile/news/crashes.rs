//! Pods, and single containers of pods that have several, that stopped doing their work by
//! themselves. Pure.

use fairway_api::pods::{CheckFailure, ContainerStatus, Exit, PodPhase, PodStatus};

use super::News;

/// What is looked at of a pod or of one container.
struct Seen<'a> {
    phase: &'a PodPhase,
    restarts: u32,
    last_exit: Option<&'a Exit>,
    check_failure: Option<&'a CheckFailure>,
}

impl<'a> From<&'a PodStatus> for Seen<'a> {
    fn from(status: &'a PodStatus) -> Self {
        Self {
            phase: &status.phase,
            restarts: status.restarts,
            last_exit: status.last_exit.as_ref(),
            check_failure: status.check_failure.as_ref(),
        }
    }
}

impl<'a> From<&'a ContainerStatus> for Seen<'a> {
    fn from(status: &'a ContainerStatus) -> Self {
        Self {
            phase: &status.phase,
            restarts: status.restarts,
            last_exit: status.last_exit.as_ref(),
            check_failure: status.check_failure.as_ref(),
        }
    }
}

/// What a new status of a pod tells. Of a pod with several containers each is told of by its own
/// name, `web.1/proxy`.
pub(super) fn of_pod(name: &str, before: Option<&PodStatus>, status: &PodStatus) -> Vec<News> {
    if status.containers.is_empty() {
        let news = crash(name, before.map(Into::into), status.into());
        return news.into_iter().collect();
    }
    let containers = status.containers.iter().filter_map(|now| {
        let then = before.into_iter().flat_map(|before| &before.containers);
        let then = then.into_iter().find(|it| it.name == now.name);
        let name = match now.name.is_main() {
            true => name.to_owned(),
            false => format!("{name}/{}", now.name),
        };
        crash(&name, then.map(Into::into), now.into())
    });
    containers.collect()
}

fn crash(name: &str, before: Option<Seen<'_>>, now: Seen<'_>) -> Option<News> {
    let was = before.map(|before| (std::mem::discriminant(before.phase), before.restarts));
    if was == Some((std::mem::discriminant(now.phase), now.restarts)) {
        return None;
    }
    let exit = || now.last_exit.map_or("ended".into(), ToString::to_string);
    let (kind, message) = match now.phase {
        PodPhase::BackOff { .. } => ("pod.crashed", format!("{name} {}", exit())),
        PodPhase::NeverReady => ("pod.never-ready", format!("{name} {}", not_ready(&now))),
        PodPhase::Refused { reason } => (
            "pod.refused",
            format!("{name} could not be started: {reason}"),
        ),
        PodPhase::Exited if now.last_exit.is_some_and(Exit::is_eviction) => {
            ("pod.evicted", format!("{name} {}", exit()))
        }
        _ => return None,
    };
    Some(News { kind, message })
}

fn not_ready(now: &Seen<'_>) -> String {
    match now.check_failure {
        Some(failure) => format!("did not become ready: {failure}"),
        None => "did not become ready in time".into(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use fairway_api::ids::PodId;

    use super::*;

    fn status(phase: PodPhase, containers: &[(&str, PodPhase, u32)]) -> PodStatus {
        let exit = Exit {
            code: 1,
            out_of_memory: false,
            stopped_because: None,
            at: DateTime::UNIX_EPOCH,
            last_lines: vec![],
        };
        let container = |(name, phase, restarts): &(&str, PodPhase, u32)| ContainerStatus {
            name: name.parse().unwrap(),
            phase: phase.clone(),
            restarts: *restarts,
            last_exit: Some(exit.clone()),
            check_failure: None,
        };
        PodStatus {
            id: PodId::from_u128(1),
            phase,
            address: None,
            restarts: 0,
            started_at: None,
            last_exit: Some(exit.clone()),
            check_failure: None,
            containers: containers.iter().map(container).collect(),
        }
    }

    #[test]
    fn each_container_is_told_of_by_its_name_and_once() {
        let up = PodPhase::Running { ready: true };
        let waits = PodPhase::BackOff {
            until: DateTime::UNIX_EPOCH,
        };
        let told = |before: &PodStatus, now: &PodStatus| -> Vec<String> {
            let news = of_pod("web.1", Some(before), now);
            news.into_iter().map(|it| it.message).collect()
        };
        let well = status(
            up.clone(),
            &[("main", up.clone(), 0), ("proxy", up.clone(), 0)],
        );
        let unready = PodPhase::Running { ready: false };
        let ill = status(
            unready,
            &[("main", up.clone(), 0), ("proxy", waits.clone(), 0)],
        );
        assert_eq!(told(&well, &ill), ["web.1/proxy exited with code 1"]);
        assert_eq!(told(&ill, &ill), [""; 0]);
        let down = status(
            waits.clone(),
            &[("main", waits.clone(), 0), ("proxy", up.clone(), 0)],
        );
        assert_eq!(told(&well, &down), ["web.1 exited with code 1"]);
        let alone = status(waits, &[]);
        assert_eq!(told(&status(up, &[]), &alone), ["web.1 exited with code 1"]);
    }
}
