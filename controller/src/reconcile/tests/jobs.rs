//! Jobs: run now, by schedule, in many pods; what is kept of them, and that a restart neither
//! doubles nor loses a run.

use chrono::TimeDelta;
use fairway_api::{
    build_orders::BuildResult,
    ids::PodId,
    jobs::{Concurrency, CronJob, Missed},
    nodes::NodePlan,
};
use fairway_scheduler::jobs::Decided;
use serde_json::{Value, json};

use super::platform::{Platform, names};
use crate::{
    store::{columns::now, jobs},
    testing::built,
};

fn cron_job(missed: Missed) -> CronJob {
    CronJob {
        command: "bin/report".into(),
        // It comes while nobody looks: in the minutes before now, or once a year.
        schedule: "*/10 * * * *".into(),
        time_zone: "UTC".into(),
        size: None,
        concurrency: Concurrency::Forbid,
        missed,
        retries: 2,
        timeout_secs: 600,
    }
}

/// A platform on which an app with these jobs serves.
async fn platform(schedule: &str, missed: Missed) -> Platform {
    let mut platform = Platform::start().await;
    platform.rig.app("shop").await;
    platform.rig.queue("shop").await;
    let order = platform.rig.claim().await;
    let mut image = built(&order);
    let job = CronJob {
        schedule: schedule.into(),
        ..cron_job(missed)
    };
    image.cron.insert("nightly".parse().unwrap(), job);
    let result = BuildResult::Succeeded(image);
    platform.rig.finish(&order, &result).await.expect(204);
    platform.orders(|plan| plan.pods.len() == 1).await;
    platform.say("web.1", "ready").await;
    platform.table(|endpoints| endpoints.len() == 1).await;
    platform.verdict(order.id).await;
    platform
}

async fn call(platform: &Platform, method: &str, path: &str, body: Value, status: u16) -> Value {
    let alice = platform.rig.alice.clone();
    let path = format!("/apps/shop{path}");
    platform
        .rig
        .call(&alice, method, &path, body)
        .await
        .expect(status)
}

async fn runs(platform: &Platform) -> Vec<Value> {
    let runs = platform.get("/apps/shop/runs").await;
    runs.as_array().unwrap().clone()
}

/// The run of this name, once it is as wanted.
async fn run(platform: &Platform, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let seen = async {
        loop {
            let run = platform.get(&format!("/apps/shop/runs/{name}")).await;
            if wanted(&run) {
                return run;
            }
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(20);
    tokio::time::timeout(limit, seen)
        .await
        .expect("the run is not as wanted")
}

fn has_other(plan: &NodePlan, name: &str, than: Option<PodId>) -> bool {
    let mut pods = plan.pods.iter();
    pods.any(|pod| pod.name == name && Some(pod.id) != than)
}

#[tokio::test]
async fn a_job_that_fails_twice_is_tried_again_and_leaves_how_it_ended() {
    let mut platform = platform("0 0 29 2 *", Missed::RunOnce).await;
    let started = call(&platform, "POST", "/jobs/nightly/runs", Value::Null, 201).await;
    let name = started["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("nightly."), "{name}");
    let mut before = None;
    for word in ["exit:1", "exit:1", "exit:0"] {
        let plan = platform.orders(|plan| has_other(plan, &name, before)).await;
        let pod = plan.pods.iter().find(|pod| pod.name == name).unwrap();
        let command = pod.command.as_deref().unwrap().join(" ");
        assert_eq!(command, "/bin/sh -c bin/report");
        assert_eq!(pod.env["FAIRWAY_RUN"].expose(), name);
        assert_eq!((pod.port, pod.time_to_live_secs), (None, Some(600)));
        before = Some(pod.id);
        let dynos = platform.get("/apps/shop/dynos").await;
        let dyno = dynos
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["name"] == name.as_str());
        assert_eq!(dyno.unwrap()["command"], "bin/report");
        platform.say(&name, word).await;
    }
    let ended = run(&platform, &name, |run| run["state"] != "running").await;
    assert_eq!(
        (
            &ended["state"],
            &ended["exit_code"],
            &ended["failed"],
            &ended["job"]
        ),
        (&json!("succeeded"), &json!(0), &json!(2), &json!("nightly"))
    );
    assert_eq!(ended["actor"], "alice@example.com");
    assert!(ended["ended_at"].is_string() && ended["reason"].is_null());
    platform.orders(|plan| names(plan) == ["web.1 v1"]).await;
    let job = platform.get("/apps/shop/jobs/nightly").await;
    assert_eq!(job["last_run"]["state"], "succeeded");
    assert!(
        job["next_run_at"]
            .as_str()
            .unwrap()
            .contains("-02-29T00:00:00")
    );
}

#[tokio::test]
async fn times_that_passed_while_nobody_was_there_get_one_run_however_often_one_comes_back() {
    let mut platform = platform("*/10 * * * *", Missed::RunOnce).await;
    // As if the controller had been away for an hour and more.
    let mut tx = platform.rig.state().store.write().await.unwrap();
    let row = jobs::all(&mut tx).await.unwrap().remove(0);
    let decided = Decided {
        until: now() - TimeDelta::minutes(65),
        ..row.decided.unwrap()
    };
    jobs::decide(&mut tx, row.app, &row.name, Some(&decided))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    platform.crash_and_start().await;
    let started = platform.orders(|plan| plan.pods.len() == 2).await;
    let name = started
        .pods
        .iter()
        .find(|pod| pod.name != "web.1")
        .unwrap()
        .name
        .clone();
    for _ in 0..2 {
        platform.crash_and_start().await;
        let runs = runs(&platform).await;
        assert_eq!(runs.len(), 1, "{runs:#?}");
        assert_eq!(runs[0]["actor"], "platform");
        assert!(runs[0]["skipped"].as_u64().unwrap() >= 5, "{runs:#?}");
    }
    platform.say(&name, "exit:3").await;
    let seen = run(&platform, &name, |run| run["failed"] == 1).await;
    assert_eq!(seen["state"], "running", "there are tries left");
    let stop = format!("/runs/{name}/actions/stop");
    call(&platform, "POST", &stop, Value::Null, 202).await;
    call(&platform, "POST", &stop, Value::Null, 409).await;
    let ended = run(&platform, &name, |run| run["state"] == "cancelled").await;
    assert_eq!(ended["reason"], "stopped by alice@example.com");
    platform.orders(|plan| names(plan) == ["web.1 v1"]).await;
    let events = platform.get("/apps/shop/events").await.to_string();
    for said in ["runs late, for", "times before", "was stopped"] {
        assert!(events.contains(said), "{said}: {events}");
    }
}

#[tokio::test]
async fn a_batch_runs_in_many_pods_and_its_first_failure_is_told() {
    let mut platform = Platform::with_live_app("shop").await;
    let order = json!({
        "command": "work", "name": "import", "completions": 3, "parallelism": 2,
        "env": { "SECRET": "x" }, "size": "nano",
    });
    let started = call(&platform, "POST", "/runs", order, 201).await;
    let name = started["name"].as_str().unwrap().to_owned();
    let (first, second) = (format!("{name}.0"), format!("{name}.1"));
    let plan = platform.orders(|plan| plan.pods.len() == 3).await;
    let pod = plan.pods.iter().find(|pod| pod.name == second).unwrap();
    assert_eq!(pod.env["FAIRWAY_RUN_INDEX"].expose(), "1");
    assert_eq!(pod.env["FAIRWAY_RUN_COMPLETIONS"].expose(), "3");
    assert_eq!(pod.env["SECRET"].expose(), "x");
    // A restart of the controller changes nothing about it.
    platform.crash_and_start().await;
    platform.say(&first, "exit:0").await;
    let third = format!("{name}.2");
    platform.orders(|plan| has_other(plan, &third, None)).await;
    platform.say(&second, "exit:4").await;
    let ended = run(&platform, &name, |run| run["state"] == "failed").await;
    assert_eq!(ended["exit_code"], 4);
    assert_eq!(ended["reason"], format!("{second} exited with code 4"));
    assert_eq!(
        (&ended["succeeded"], &ended["active"]),
        (&json!(1), &json!(0))
    );
    platform.orders(|plan| names(plan) == ["web.1 v1"]).await;
    let events = platform.get("/apps/shop/events").await.to_string();
    assert!(events.contains("run.failed"), "{events}");
}

#[tokio::test]
async fn a_suspended_job_does_not_run_by_schedule_and_can_be_run_by_hand() {
    let platform = platform("* * * * *", Missed::RunOnce).await;
    let suspended = call(
        &platform,
        "PATCH",
        "/jobs/nightly",
        json!({ "suspended": true }),
        200,
    )
    .await;
    assert_eq!(
        (&suspended["suspended"], &suspended["next_run_at"]),
        (&json!(true), &Value::Null)
    );
    call(&platform, "POST", "/jobs/nightly/runs", Value::Null, 201).await;
    let resumed = call(
        &platform,
        "PATCH",
        "/jobs/nightly",
        json!({ "suspended": false }),
        200,
    )
    .await;
    assert!(resumed["next_run_at"].is_string());
    let events = platform.get("/apps/shop/events").await.to_string();
    assert!(events.contains("Job nightly was suspended.") && events.contains("was resumed."));
}

#[tokio::test]
async fn what_cannot_be_run_is_refused() {
    let platform = platform("0 0 29 2 *", Missed::RunOnce).await;
    for (body, said) in [
        (json!({ "command": " " }), "1 to 131071 bytes"),
        (
            json!({ "command": "x", "completions": 0 }),
            "completions is 0; it must be from 1 to 10000",
        ),
        (
            json!({ "command": "x", "parallelism": 101 }),
            "parallelism is 101",
        ),
        (json!({ "command": "x", "retries": 101 }), "retries is 101"),
        (
            json!({ "command": "x", "timeout": 86_401 }),
            "timeout is 86401",
        ),
        (json!({ "command": "x", "size": "huge" }), "find that size"),
        (
            json!({ "command": "x", "name": "web" }),
            "has a process type web",
        ),
        (
            json!({ "command": "x", "name": "nightly" }),
            "has a job nightly",
        ),
        (
            json!({ "command": "x", "name": "run" }),
            "taken by Fairway itself",
        ),
        (
            json!({ "command": "x", "env": { "PORT": "1" } }),
            "PORT is set by Fairway",
        ),
    ] {
        let answer = call(&platform, "POST", "/runs", body.clone(), 422).await;
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains(said), "{body}: {message}");
    }
    call(&platform, "POST", "/jobs/daily/runs", Value::Null, 404).await;
    call(
        &platform,
        "PATCH",
        "/jobs/daily",
        json!({ "suspended": true }),
        404,
    )
    .await;
    assert!(runs(&platform).await.is_empty());
}
