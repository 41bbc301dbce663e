//! Driving an app that runs: scale, config, logs, one-off pods, domains, restart.

use anyhow::ensure;
use fairway_e2e::Platform;

use crate::{OnShared, push::wait, sample};

pub(crate) const TESTS: &[(&str, OnShared)] = &[
    ("drive_scale_and_restart", scale_and_restart),
    ("drive_config", config),
    ("drive_logs", logs),
    ("drive_run", run),
    ("drive_domains", domains),
    ("drive_destroy", destroy),
];

fn deploy(platform: &Platform, app: &str) -> anyhow::Result<()> {
    let repository = platform.create_app(app)?;
    sample::docker_app(&repository, app)?;
    repository.commit("first")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);
    Ok(())
}

fn scale_and_restart(platform: &Platform) -> anyhow::Result<()> {
    deploy(platform, "scaled")?;
    let app = "scaled".parse()?;
    let before = platform.containers(&app)?;
    platform.app_ok(&["ps:scale", "web=3", "-a", "scaled"])?;
    wait("three pods run", || {
        Ok(platform.containers(&app)?.len() == 3)
    })?;
    ensure!(
        platform.containers(&app)?.contains(&before[0]),
        "scaling replaced a pod"
    );
    wait("ps shows three pods up", || {
        Ok(platform
            .app_ok(&["ps", "-a", "scaled"])?
            .matches("up ")
            .count()
            >= 3)
    })?;

    platform.app_ok(&["ps:restart", "web.1", "-a", "scaled"])?;
    wait("web.1 is another container", || {
        let now = platform.containers(&app)?;
        Ok(now.len() == 3 && !now.contains(&before[0]))
    })?;

    platform.app_ok(&["ps:scale", "web=0", "-a", "scaled"])?;
    wait("no pod runs", || Ok(platform.containers(&app)?.is_empty()))?;
    ensure!(platform.get("scaled", "/")?.0 == 503);
    Ok(())
}

fn config(platform: &Platform) -> anyhow::Result<()> {
    deploy(platform, "configured")?;
    platform.app_ok(&["config:set", "GREETING=hello world", "-a", "configured"])?;
    wait("the new value is live", || {
        Ok(platform.get("configured", "/env/GREETING")?.1 == "hello world")
    })?;
    ensure!(
        platform
            .app_ok(&["config:get", "GREETING", "-a", "configured"])?
            .trim()
            == "hello world"
    );
    platform.app_ok(&["rollback", "-a", "configured"])?;
    wait("rollback brought the old config back", || {
        Ok(platform.get("configured", "/env/GREETING")?.1 == "unset")
    })?;
    Ok(())
}

fn logs(platform: &Platform) -> anyhow::Result<()> {
    deploy(platform, "logged")?;
    ensure!(platform.get("logged", "/needle")?.0 == 200);
    wait(
        "the app's line and the router's line are in the log",
        || {
            let log = platform.app_ok(&["logs", "-n", "200", "-a", "logged"])?;
            Ok(log.contains("app[web.1]: page /needle") && log.contains("path=\"/needle\""))
        },
    )
}

fn run(platform: &Platform) -> anyhow::Result<()> {
    deploy(platform, "one-off")?;
    let output = platform
        .app(&["run", "-a", "one-off", "--", "sh", "-c", "echo out; exit 7"])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.code() == Some(7),
        "{:?} {text}",
        output.status
    );
    ensure!(text.contains("out"), "{text}");
    Ok(())
}

fn domains(platform: &Platform) -> anyhow::Result<()> {
    deploy(platform, "domain-app")?;
    platform.app_ok(&["domains:add", "www.shop.example", "-a", "domain-app"])?;
    wait("the new hostname answers", || {
        Ok(platform.get_host("www.shop.example", "/")? == (200, "domain-app".into()))
    })?;
    platform.app_ok(&["create", "other-app", "--no-remote"])?;
    let taken = platform
        .app(&["domains:add", "www.shop.example", "-a", "other-app"])
        .output()?;
    ensure!(!taken.status.success(), "a hostname was claimed twice");
    platform.app_ok(&["domains:remove", "www.shop.example", "-a", "domain-app"])?;
    wait("the hostname is gone", || {
        Ok(platform.get_host("www.shop.example", "/")?.0 == 404)
    })
}

fn destroy(platform: &Platform) -> anyhow::Result<()> {
    deploy(platform, "short-lived")?;
    let app = "short-lived".parse()?;
    platform.app_ok(&["destroy", "-a", "short-lived", "--confirm", "short-lived"])?;
    wait("its pods are gone", || {
        Ok(platform.containers(&app)?.is_empty())
    })?;
    wait("its hostname is gone", || {
        Ok(platform.get("short-lived", "/")?.0 == 404)
    })
}
