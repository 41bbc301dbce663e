//! What becomes of a container: how it ended, and its removal.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use fairway_api::pods::{EXIT_LINES_MAX, Exit};
use tokio::time::{sleep, timeout};

use super::{Running, handle::Host};
use crate::{
    engine::{AGAIN_MILLIS, Engine, Inspected},
    logs::Follower,
};

/// How long the last lines of a dead container may take to be read, in seconds.
const LAST_LINES_SECS: u64 = 5;

/// How many lines of output are read to find the last ones that say something.
const LINES_READ: usize = 400;

/// What a second look at a container found.
pub(super) enum Looked {
    Running {
        running: Running,
        pid: Option<i64>,
        cut_off: bool,
    },
    Ended(Exit),
}

/// Delivers what is left of a dead container's log and removes it, as often as it takes.
pub(crate) async fn bury(host: Arc<Host>, container: String, follower: Option<Follower>) {
    let work = async {
        if let Some(follower) = follower {
            follower.drain().await;
        }
        while let Err(error) = host.engine.remove(&container).await {
            tracing::warn!(container, "cannot remove a dead container yet: {error}");
            sleep(Duration::from_millis(AGAIN_MILLIS)).await;
        }
        host.places.forget(&container);
    };
    host.shutdown.run_until_cancelled(work).await;
}

/// Finds out how a container is, and if it has ended, how. `code` is what is known in case it was
/// removed.
pub(super) async fn look(engine: Arc<Engine>, container: String, code: i64) -> Looked {
    match engine.inspect_patiently(&container).await {
        Inspected::Running {
            running,
            pid,
            cut_off,
        } => Looked::Running {
            running,
            pid,
            cut_off,
        },
        Inspected::Missing => Looked::Ended(exit(code, false, None, vec![])),
        Inspected::Dead {
            code,
            out_of_memory,
            at,
        } => {
            let lines = engine.last_lines(&container, LINES_READ);
            let lines = timeout(Duration::from_secs(LAST_LINES_SECS), lines).await;
            let lines = lines.ok().and_then(Result::ok).unwrap_or_default();
            Looked::Ended(exit(code, out_of_memory, at, fold(lines, EXIT_LINES_MAX)))
        }
    }
}

fn exit(
    code: i64,
    out_of_memory: bool,
    at: Option<DateTime<Utc>>,
    last_lines: Vec<String>,
) -> Exit {
    Exit {
        code,
        out_of_memory,
        stopped_because: None,
        at: at.unwrap_or_else(Utc::now),
        last_lines,
    }
}

/// The last `max` lines, of which those that follow each other and differ only in digits count as
/// one: a server's line for each try of a failing check would crowd out why it fails.
fn fold(lines: Vec<String>, max: usize) -> Vec<String> {
    let mut folded: Vec<(String, usize)> = Vec::new();
    for line in lines {
        match folded.last_mut() {
            Some((last, count)) if differ_only_in_digits(last, &line) => {
                *last = line;
                *count += 1;
            }
            _ => folded.push((line, 1)),
        }
    }
    let surplus = folded.len().saturating_sub(max);
    let told = |(line, count): (String, usize)| match count {
        1 => line,
        _ => format!("{line} (the last of {count} such lines)"),
    };
    folded.into_iter().skip(surplus).map(told).collect()
}

fn differ_only_in_digits(one: &str, other: &str) -> bool {
    fn words(text: &str) -> impl Iterator<Item = char> {
        text.chars().filter(|c| !c.is_ascii_digit())
    }
    words(one).eq(words(other))
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn lines_of_failing_checks_do_not_crowd_out_the_reason() {
        let check = |second| format!("[12:00:{second:02}] \"GET /health HTTP/1.1\" 503 -");
        let mut lines = vec!["no database".to_owned()];
        lines.extend((1..=40).map(check));
        lines.push("giving up".into());
        let folded = fold(lines, 3);
        let of_checks = format!("{} (the last of 40 such lines)", check(40));
        assert_eq!(folded, ["no database", of_checks.as_str(), "giving up"]);
        let different = ["a", "b", "c"].map(String::from).to_vec();
        assert_eq!(fold(different, 2), ["b", "c"]);
    }
}
