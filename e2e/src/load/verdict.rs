//! What came of requests, and whether that is what was promised. Pure.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    time::Instant,
};

use anyhow::ensure;

/// A request and what came of it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) id: u64,
    pub(super) app: String,
    pub(super) router: SocketAddr,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) outcome: Outcome,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered(Answer),
    /// An error, or no answer at all.
    Lost(String),
    /// An answer that is not of the app, or to another request.
    Wrong(String),
}

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) release: u32,
    /// Of the pod.
    pub(super) address: Ipv4Addr,
}

impl Seen {
    /// True if a pod of this subnet answered.
    pub(super) fn is_from(&self, subnet: [u8; 3]) -> bool {
        matches!(&self.outcome, Outcome::Answered(it) if super::subnet_of(it.address) == subnet)
    }
}

/// Reads what an app of the tests answers: its name, its release, its pod's address, and the path
/// that was asked for.
pub(super) fn read(app: &str, path: &str, body: &str) -> Outcome {
    let words: Vec<&str> = body.split(' ').collect();
    let answer = match words[..] {
        [name, release, address, asked] if name == app && asked == path => {
            let release = release.strip_prefix('v').and_then(|it| it.parse().ok());
            release.zip(address.parse().ok())
        }
        _ => None,
    };
    match answer {
        Some((release, address)) => Outcome::Answered(Answer { release, address }),
        None => Outcome::Wrong(body.to_owned()),
    }
}

/// That no request was lost without excuse, none was answered by who was not asked, and none that
/// began after a release had answered was answered by an older one, at the same router.
pub(super) fn judge(seen: &[Seen], is_excused: impl Fn(&Seen) -> bool) -> anyhow::Result<()> {
    // When a release of an app answered at a router for the first time.
    let mut first: BTreeMap<(&str, SocketAddr, u32), Instant> = BTreeMap::new();
    for it in seen {
        if let Outcome::Answered(answer) = &it.outcome {
            let key = (it.app.as_str(), it.router, answer.release);
            let at = first.entry(key).or_insert(it.ended);
            *at = it.ended.min(*at);
        }
    }
    let broken = seen.iter().filter(|it| match &it.outcome {
        Outcome::Lost(_) => !is_excused(it),
        Outcome::Wrong(_) => true,
        Outcome::Answered(answer) => {
            let newer = first.range((it.app.as_str(), it.router, answer.release + 1)..);
            let same = |app: &str, router| (app, router) == (it.app.as_str(), it.router);
            let mut newer = newer.take_while(|((app, router, _), _)| same(app, *router));
            newer.any(|(_, at)| *at < it.began)
        }
    });
    let broken: Vec<&Seen> = broken.collect();
    ensure!(
        broken.is_empty(),
        "{} of {} requests broke a promise: {:?}; the first: {:#?}",
        broken.len(),
        seen.len(),
        broken.iter().map(|it| it.id).collect::<Vec<_>>(),
        &broken[..broken.len().min(5)]
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn seen(start: Instant, app: &str, (from, to): (u64, u64), outcome: Outcome) -> Seen {
        Seen {
            id: from,
            app: app.into(),
            router: ([127, 0, 0, 1], 8080).into(),
            began: start + Duration::from_secs(from),
            ended: start + Duration::from_secs(to),
            outcome,
        }
    }

    fn by(release: u32) -> Outcome {
        Outcome::Answered(Answer {
            release,
            address: [10, 64, 3, 7].into(),
        })
    }

    #[test]
    fn only_the_app_that_was_asked_answers_and_what_it_was_asked() {
        assert_eq!(read("a", "/7", "a v2 10.64.3.7 /7"), by(2));
        for wrong in [
            "b v2 10.64.3.7 /7",
            "a v2 10.64.3.7 /8",
            "a 2 10.64.3.7 /7",
            "",
        ] {
            assert_eq!(read("a", "/7", wrong), Outcome::Wrong(wrong.into()));
        }
    }

    #[test]
    fn a_lost_request_needs_an_excuse() {
        let start = Instant::now();
        let lost = [seen(start, "a", (10, 20), Outcome::Lost("503".into()))];
        assert!(judge(&lost, |_| false).is_err());
        assert!(judge(&lost, |it| it.app == "a").is_ok());
        let wrong = [seen(start, "a", (10, 20), Outcome::Wrong("b".into()))];
        assert!(judge(&wrong, |_| true).is_err());
    }

    #[test]
    fn the_old_release_is_silent_after_the_flip() {
        let start = Instant::now();
        let all = |old: (u64, u64), app: &str| {
            vec![
                seen(start, "a", (10, 12), by(2)),
                seen(start, "a", (3, 30), by(1)),
                seen(start, app, old, by(1)),
            ]
        };
        let never = |_: &Seen| false;
        assert!(
            judge(&all((11, 20), "a"), never).is_ok(),
            "it was under way"
        );
        assert!(judge(&all((13, 20), "a"), never).is_err());
        assert!(judge(&all((13, 20), "b"), never).is_ok(), "another app");
        let mut elsewhere = all((13, 20), "a");
        elsewhere[2].router = ([127, 0, 0, 1], 8081).into();
        assert!(judge(&elsewhere, never).is_ok(), "another router");
    }
}
