//! Everything from a push to a URL, with the real git, engine and browser.
//!
//! All tests share one platform, each with apps of its own; only those that kill the platform
//! start another. The harness is our own `main` because a shared platform has to be taken down
//! after the last test, also after failures.

#![expect(
    clippy::print_stderr,
    reason = "a test harness speaks to whoever runs it"
)]

#[path = "e2e/autoscale.rs"]
mod autoscale;
#[path = "e2e/bad_input.rs"]
mod bad_input;
#[path = "e2e/browser.rs"]
mod browser;
#[path = "e2e/cluster.rs"]
mod cluster;
#[path = "e2e/dashboard.rs"]
mod dashboard;
#[path = "e2e/disk.rs"]
mod disk;
#[path = "e2e/drive.rs"]
mod drive;
#[path = "e2e/jobs.rs"]
mod jobs;
#[path = "e2e/keep.rs"]
mod keep;
#[path = "e2e/machines.rs"]
mod machines;
#[path = "e2e/push.rs"]
mod push;
#[path = "e2e/rollouts.rs"]
mod rollouts;
#[path = "e2e/sample.rs"]
mod sample;
#[path = "e2e/sidecars.rs"]
mod sidecars;

use std::sync::Arc;

use fairway_e2e::Platform;
use libtest_mimic::{Arguments, Failed, Trial};

/// A test that uses the shared platform.
type OnShared = fn(&Platform) -> anyhow::Result<()>;
/// A test that starts what it needs.
type Alone = fn() -> anyhow::Result<()>;

fn main() {
    let arguments = Arguments::from_args();
    let tests: Vec<(&'static str, OnShared)> = [
        push::TESTS,
        drive::TESTS,
        jobs::TESTS,
        bad_input::TESTS,
        dashboard::TESTS,
        disk::TESTS,
        rollouts::TESTS,
        autoscale::TESTS,
        sidecars::TESTS,
    ]
    .concat();
    let faults = under_faults(arguments.filter.clone());
    if arguments.list {
        libtest_mimic::run(&arguments, trials(tests, faults, None)).exit();
    }
    let platform = match Platform::start() {
        Ok(platform) => Arc::new(platform),
        Err(error) => {
            eprintln!("the platform for the tests did not start: {error:#}");
            std::process::exit(1);
        }
    };
    let conclusion = libtest_mimic::run(&arguments, trials(tests, faults, Some(&platform)));
    if conclusion.has_failed() {
        eprintln!("end of the platform's log:\n{}", platform.log_tail());
    }
    drop(platform);
    conclusion.exit();
}

/// The longest test, which mostly waits.
fn under_faults(filter: Option<String>) -> Trial {
    Trial::test(machines::name(), move || {
        outcome(machines::play(filter.as_deref()))
    })
}

/// Tells whoever runs the tests something that is no failure.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

fn trials(
    tests: Vec<(&'static str, OnShared)>,
    faults: Trial,
    platform: Option<&Arc<Platform>>,
) -> Vec<Trial> {
    let shared = tests.into_iter().map(|(name, test)| {
        let platform = platform.cloned();
        Trial::test(name, move || match &platform {
            Some(platform) => outcome(test(platform)),
            None => Err("no platform".into()),
        })
    });
    let alone = keep::TESTS
        .iter()
        .chain(cluster::TESTS)
        .map(|&(name, test): &(&str, Alone)| Trial::test(name, move || outcome(test())));
    // First, so that it is not alone at the end.
    std::iter::once(faults).chain(shared).chain(alone).collect()
}

fn outcome(result: anyhow::Result<()>) -> Result<(), Failed> {
    result.map_err(|error| format!("{error:?}").into())
}
