//! Jobs: run now with retries, what stays of a run when its pods are gone, and a schedule that is
//! none.

use anyhow::{Context, ensure};
use fairway_e2e::{Platform, Repository};
use serde_json::Value;

use crate::{OnShared, push::wait, sample};

pub(crate) const TESTS: &[(&str, OnShared)] =
    &[("jobs_are_tried_again_and_leave_how_they_ended", jobs)];

/// Fails twice, then succeeds. Pods share nothing, so the app's own server counts.
const FLAKY: &str = r#"import os, sys, urllib.request
web = "http://%s:%s/count" % (os.environ["WEB_SERVICE_HOST"], os.environ["WEB_SERVICE_PORT"])
count = int(urllib.request.urlopen(web, timeout=10).read())
print("attempt", count, "of", os.environ["FAIRWAY_RUN"], flush=True)
sys.exit(0 if count == 3 else 9)
"#;

const APP_JSON: &str = r#"{
  "cron": [
    { "name": "flaky", "command": "python3 flaky.py", "schedule": "SCHEDULE", "retries": 3 }
  ]
}
"#;

fn app(repository: &Repository, schedule: &str) -> anyhow::Result<()> {
    sample::docker_app(repository, "jobbed")?;
    let page = concat!(
        "elif self.path == \"/count\":\n",
        "            with open(\"/tmp/counted\", \"ab\") as counted:\n",
        "                counted.write(b\".\")\n",
        "                body = str(counted.tell())\n",
        "        elif self.path == \"/exit\":"
    );
    let server = sample::server("jobbed").replace("elif self.path == \"/exit\":", page);
    repository.write("server.py", &server)?;
    repository.write("flaky.py", FLAKY)?;
    repository.write("app.json", &APP_JSON.replace("SCHEDULE", schedule))?;
    repository.commit(schedule)?;
    Ok(())
}

fn jobs(platform: &Platform) -> anyhow::Result<()> {
    let repository = platform.create_app("jobbed")?;
    app(&repository, "0 0 31 * MONDAY-")?;
    let refused = repository.push(&["fairway", "main"])?;
    ensure!(
        !refused.ok && refused.output.contains("app.json line 3"),
        "{}",
        refused.output
    );
    app(&repository, "0 0 29 2 *")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);
    let listed = platform.app_ok(&["jobs", "-a", "jobbed"])?;
    ensure!(
        listed.contains("flaky") && listed.contains("-02-29 00:00:00Z"),
        "{listed}"
    );

    platform.app_ok(&["jobs:start", "flaky", "--wait", "-a", "jobbed"])?;
    let run = newest(platform)?;
    ensure!(
        run["state"] == "succeeded" && run["exit_code"] == 0 && run["failed"] == 2,
        "{run}"
    );
    let name = run["name"].as_str().context("a run has a name")?;
    log_has(
        platform,
        name,
        &[
            "attempt 1 of",
            "attempt 2 of",
            "attempt 3 of",
            "Run succeeded",
        ],
    )?;

    let command = [
        "jobs:run",
        "--wait",
        "-a",
        "jobbed",
        "--",
        "sh",
        "-c",
        "echo last words; exit 5",
    ];
    let failed = platform.app(&command).output()?;
    ensure!(failed.status.code() == Some(5), "{failed:?}");
    let name = newest(platform)?["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    log_has(
        platform,
        &name,
        &["last words", "Run failed: exited with code 5"],
    )?;

    let one_off = platform.app_ok(&["run:detached", "-a", "jobbed", "exit 4"])?;
    let info = ["run:info", one_off.trim(), "-a", "jobbed"];
    wait("the one-off pod's exit code is kept", || {
        Ok(platform.app_ok(&info)?.contains("failed (4)"))
    })?;
    platform.app_ok(&["jobs:run", "-a", "jobbed", "--", "sleep 1000"])?;
    let name = newest(platform)?["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let app = "jobbed".parse()?;
    wait("its pod runs", || Ok(platform.containers(&app)?.len() == 2))?;
    platform.app_ok(&["run:stop", &name, "-a", "jobbed"])?;
    wait("its pod is gone", || {
        Ok(platform.containers(&app)?.len() == 1)
    })
}

fn newest(platform: &Platform) -> anyhow::Result<Value> {
    let runs: Value =
        serde_json::from_str(&platform.app_ok(&["run:list", "--json", "-a", "jobbed"])?)?;
    Ok(runs[0].clone())
}

fn log_has(platform: &Platform, run: &str, lines: &[&str]) -> anyhow::Result<()> {
    wait(&format!("the log of {run} has {lines:?}"), || {
        let log = platform.app_ok(&["logs", "-n", "500", "-p", run, "-a", "jobbed"])?;
        Ok(lines.iter().all(|line| log.contains(line)))
    })
}
