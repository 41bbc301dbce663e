//! Autoscaling with real pods, agents and requests, and windows as short as they can be.

use std::process::{Command, Stdio};

use anyhow::ensure;
use fairway_e2e::Platform;

use crate::{OnShared, push, sample};

pub(crate) const TESTS: &[(&str, OnShared)] =
    &[("autoscale_sleeps_wakes_and_grows", sleeps_wakes_and_grows)];

/// Requests that are open at a time while the app should grow.
const CLIENTS: usize = 8;

fn sleeps_wakes_and_grows(platform: &Platform) -> anyhow::Result<()> {
    let repository = platform.create_app("sleeper")?;
    sample::docker_app(&repository, "awake")?;
    repository.commit("first")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);
    let set = "autoscale:set web --min 0 --max 3 --concurrency 2 --down-after 5s -a sleeper";
    platform.app_ok(&set.split(' ').collect::<Vec<_>>())?;
    until_web_is(platform, 0)?;
    ensure!(platform.get("sleeper", "/")? == (200, "awake".into()));

    let stop = repository.path().join(".git/stop");
    let script = format!(
        "while [ ! -e {stop} ]; do curl -sf --max-time 60 --noproxy '*' -o /dev/null \
         --resolve sleeper.localhost:{port}:127.0.0.1 http://sleeper.localhost:{port}/slow \
         || {{ echo lost $?; exit 1; }}; done",
        stop = stop.display(),
        port = platform.addresses().http.port(),
    );
    let client = || {
        Command::new("sh")
            .args(["-c", &script])
            .stdout(Stdio::piped())
            .spawn()
    };
    let clients = (0..CLIENTS)
        .map(|_| client())
        .collect::<Result<Vec<_>, _>>()?;
    let grown = until_web_is(platform, 3);
    std::fs::write(&stop, "")?;
    for client in clients {
        let output = client.wait_with_output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    grown?;
    // And to sleep again, although pods were busy a moment ago.
    until_web_is(platform, 0)?;
    let events = platform.app_ok(&["events", "-a", "sleeper"])?;
    ensure!(
        events.contains("autoscaler: web 0 -> 1: a request waits"),
        "{events}"
    );
    ensure!(
        events.contains("open requests per pod, target 2"),
        "{events}"
    );
    platform.app_ok(&["destroy", "--confirm", "sleeper", "-a", "sleeper"])?;
    Ok(())
}

/// Waits until web has this count.
fn until_web_is(platform: &Platform, count: u32) -> anyhow::Result<()> {
    let wanted = format!("web={count}:");
    push::wait(&format!("{wanted} of sleeper"), || {
        let formation = platform.app_ok(&["ps:scale", "-a", "sleeper"])?;
        Ok(formation.contains(&wanted))
    })
}
