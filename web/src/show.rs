//! How values look on a page.

use chrono::{DateTime, Utc};
use fairway_api::{
    builds::BuildPhase,
    dynos::DynoState,
    events::{Cause, Event},
    jobs::{Run, RunState},
    metrics::MetricsPoint,
    releases::ReleaseStatus,
    volumes::{Volume, VolumeStatus, show_size},
};

/// `2026-11-21 21:30:43`; the page's script turns it into "3 minutes ago".
pub(crate) fn time(at: &DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// For `<time datetime>`.
pub(crate) fn machine_time(at: &DateTime<Utc>) -> String {
    at.to_rfc3339()
}

/// A measured value; a dash for what is not known.
pub(crate) fn measured(value: &Option<f64>, unit: &str) -> String {
    value.map_or_else(|| "\u{2013}".into(), |value| format!("{value:.1}{unit}"))
}

/// Requests over time as the points of a line, 120 by 20, the oldest left and the most on top.
pub(crate) fn line(history: &[MetricsPoint]) -> String {
    let most = history
        .iter()
        .fold(f32::MIN_POSITIVE, |most, it| most.max(it.rps));
    let step = 120.0 / history.len().saturating_sub(1).max(1) as f32;
    let points = history.iter().enumerate().map(|(index, point)| {
        let (x, y) = (index as f32 * step, 19.0 - 18.0 * point.rps / most);
        format!("{x:.0},{y:.1}")
    });
    points.collect::<Vec<_>>().join(" ")
}

/// A badge: its colour class and word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Badge {
    pub(crate) class: &'static str,
    pub(crate) word: &'static str,
}

const fn badge(class: &'static str, word: &'static str) -> Badge {
    Badge { class, word }
}

pub(crate) fn dyno(state: &DynoState) -> Badge {
    match state {
        DynoState::Up => badge("good", "up"),
        DynoState::Starting => badge("busy", "starting"),
        DynoState::Stopping => badge("busy", "stopping"),
        DynoState::Crashed => badge("bad", "crashed"),
        DynoState::Down => badge("idle", "down"),
    }
}

pub(crate) fn release(status: &ReleaseStatus, current: &bool) -> Badge {
    match status {
        ReleaseStatus::Succeeded if *current => badge("good", "live"),
        ReleaseStatus::Succeeded => badge("idle", "succeeded"),
        ReleaseStatus::Pending => badge("busy", "pending"),
        ReleaseStatus::Failed => badge("bad", "failed"),
    }
}

pub(crate) fn build(phase: &BuildPhase) -> Badge {
    match phase {
        BuildPhase::Queued => badge("busy", "queued"),
        BuildPhase::Running => badge("busy", "running"),
        BuildPhase::Succeeded => badge("good", "succeeded"),
        BuildPhase::Failed => badge("bad", "failed"),
        BuildPhase::Cancelled => badge("idle", "cancelled"),
    }
}

pub(crate) fn run(state: &RunState) -> Badge {
    match state {
        RunState::Running => badge("busy", "running"),
        RunState::Succeeded => badge("good", "succeeded"),
        RunState::Failed => badge("bad", "failed"),
        RunState::TimedOut => badge("bad", "timed out"),
        RunState::Cancelled => badge("idle", "cancelled"),
        RunState::Missed => badge("bad", "missed"),
    }
}

/// Why something happened to a pod or a machine.
pub(crate) fn cause(event: &Event) -> Option<Badge> {
    Some(match event.cause.as_ref()? {
        Cause::OutOfMemory { .. } => badge("bad", "out of memory"),
        Cause::Signal { .. } => badge("bad", "signal"),
        Cause::Exit { .. } => badge("bad", "exit"),
        Cause::CheckFailed { .. } => badge("bad", "check failed"),
        Cause::ImagePullFailed { .. } => badge("bad", "image pull failed"),
        Cause::StartFailed { .. } => badge("bad", "start failed"),
        Cause::BackOff { .. } => badge("bad", "back-off"),
        Cause::Unplaced { .. } => badge("bad", "unplaced"),
        Cause::Evicted { .. } => badge("busy", "evicted"),
        Cause::Preempted { .. } => badge("busy", "preempted"),
        Cause::LostMachine { .. } => badge("busy", "lost machine"),
        Cause::Drained { .. } => badge("idle", "drained"),
        Cause::Rebalanced { .. } => badge("idle", "rebalanced"),
        Cause::Stopped { .. } => badge("idle", "stopped"),
    })
}

/// What belongs to a cause and is not in the sentence: a response, the limit, a line per machine.
pub(crate) fn details(event: &Event) -> Vec<String> {
    const MIB: u64 = 1024 * 1024;
    match &event.cause {
        Some(Cause::OutOfMemory { limit_bytes, .. }) => {
            let limit = limit_bytes.map(|limit| format!("{} MiB", limit / MIB));
            limit.into_iter().collect()
        }
        Some(Cause::CheckFailed { response, .. }) => response.iter().cloned().collect(),
        Some(Cause::Unplaced { reasons }) => {
            let line = |node: &Option<String>, reason: &String| match node {
                Some(node) => format!("{node}: {reason}"),
                None => reason.clone(),
            };
            let lines = reasons.iter().map(|it| line(&it.node, &it.reason));
            lines.collect()
        }
        _ => vec![],
    }
}

/// What says most about a run beside its state: its exit code, how far it is, how long it took.
pub(crate) fn outcome(run: &Run) -> String {
    let failed = matches!(run.state, RunState::Failed | RunState::TimedOut);
    match run.exit_code.filter(|_| failed) {
        Some(code) => format!("exit code {code}, {}", extent(run)),
        None => extent(run),
    }
}

/// How far a run is and how long it took, for where its reason has the exit code.
pub(crate) fn extent(run: &Run) -> String {
    let mut said = vec![];
    if run.completions > 1 && run.state != RunState::Missed {
        said.push(format!("{} of {}", run.succeeded, run.completions));
    }
    if let Some(ended) = run.ended_at.filter(|_| run.state != RunState::Missed) {
        said.push(took((ended - run.created_at).num_seconds().max(0)));
    }
    said.join(", ")
}

/// `59 s`, `2 min 5 s`, `3 h 20 min`.
fn took(secs: i64) -> String {
    match secs {
        ..60 => format!("{secs} s"),
        60..3_600 => format!("{} min {} s", secs / 60, secs % 60),
        _ => format!("{} h {} min", secs / 3_600, secs % 3_600 / 60),
    }
}

/// Reasons begin in lower case where they continue a line of a terminal; on a page they stand alone.
/// A name, such as `web.1` or `v4`, stays as it is.
pub(crate) fn sentence(text: &str) -> String {
    let first_word = text.split(' ').next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if first_word.chars().all(char::is_alphabetic) => {
            first.to_uppercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// The first 8 characters of a commit or digest.
pub(crate) fn short(id: &str) -> String {
    id.strip_prefix("sha256:")
        .unwrap_or(id)
        .chars()
        .take(8)
        .collect()
}

/// `1.2 GB of 10 GB`; what nobody has measured yet is a dash.
pub(crate) fn room(volume: &Volume) -> String {
    let used = volume.used_bytes.map_or_else(|| "–".to_owned(), show_size);
    match volume.size_bytes {
        Some(size) => format!("{used} of {}", show_size(size)),
        None => used,
    }
}

/// True for a volume with next to no room left.
pub(crate) fn is_full(volume: &Volume) -> bool {
    let (id, used_bytes, size_bytes) = (volume.id, volume.used_bytes, volume.size_bytes);
    VolumeStatus {
        volume: id,
        used_bytes,
        size_bytes,
    }
    .is_full()
}

#[cfg(test)]
mod tests {
    use super::MetricsPoint;

    #[test]
    fn sentences_begin_with_a_capital_and_names_stay() {
        for (text, expected) in [
            ("the build failed", "The build failed"),
            ("web.1 exited with code 1", "web.1 exited with code 1"),
            ("v4 was made from v1.", "v4 was made from v1."),
            ("", ""),
        ] {
            assert_eq!(super::sentence(text), expected);
        }
    }

    #[test]
    fn spans_have_the_two_units_that_tell_most() {
        for (secs, expected) in [
            (0, "0 s"),
            (59, "59 s"),
            (125, "2 min 5 s"),
            (12_000, "3 h 20 min"),
        ] {
            assert_eq!(super::took(secs), expected);
        }
    }

    #[test]
    fn a_line_goes_from_left_to_right_and_ends_at_the_top() {
        let point = |rps| MetricsPoint { rps, p95_ms: 0.0 };
        let line = super::line(&[point(0.0), point(5.0), point(10.0)]);
        assert_eq!(line, "0,19.0 60,10.0 120,1.0");
        // Nothing at all is a line at the bottom.
        assert_eq!(super::line(&[point(0.0), point(0.0)]), "0,19.0 120,19.0");
    }

    #[test]
    fn ids_are_cut_and_their_algorithm_is_left_out() {
        assert_eq!(super::short("sha256:0123456789ab"), "01234567");
        assert_eq!(super::short("abc"), "abc");
    }
}
