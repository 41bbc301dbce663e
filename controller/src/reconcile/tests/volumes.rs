//! Volumes from the API to a machine's orders and back.

use fairway_api::{
    nodes::NodePlan,
    volumes::{VolumeStatus, VolumeTask},
};
use serde_json::{Value, json};

use super::platform::{Platform, names};
use crate::testing::NODE;

impl Platform {
    async fn ask_volumes(&self, method: &str, path: &str, body: Value) -> Value {
        let path = format!("/apps/shop/{path}");
        let reply = self.rig.call(&self.rig.alice, method, &path, body).await;
        assert!(reply.status.is_success(), "{path}: {reply:?}");
        reply.json()
    }

    /// An app with a worker that has the volume `data`.
    async fn with_volume() -> Self {
        let mut platform = Self::with_live_app("shop").await;
        let new = json!({
            "name": "data", "mounts": [{ "process_type": "worker", "path": "/data" }],
        });
        platform.ask_volumes("POST", "volumes", new).await;
        platform
            .orders(|plan| names(plan).contains(&"web.1 v2".into()))
            .await;
        platform.say("web.1 v2", "ready").await;
        platform
            .table(|endpoints| {
                endpoints.len() == 1 && endpoints[0].address.to_string() == "10.9.0.2:8080"
            })
            .await;
        platform.scale("shop", "worker", 1).await;
        platform
            .orders(|plan| names(plan).contains(&"worker.1 v2".into()))
            .await;
        platform.say("worker.1", "ready").await;
        platform
    }

    async fn node_call(&self, method: &str, path: &str, body: Value) -> crate::testing::Reply {
        self.rig.call(NODE, method, path, body).await
    }
}

fn has_worker(plan: &NodePlan) -> bool {
    plan.pods.iter().any(|pod| pod.name == "worker.1")
}

#[tokio::test]
async fn a_pod_mounts_its_volume_which_stays_on_its_machine_until_it_is_destroyed() {
    let mut platform = Platform::with_volume().await;
    let plan = platform.newest_plan().clone();
    let worker = plan.pods.iter().find(|pod| pod.name == "worker.1").unwrap();
    let mount = &worker.mounts[0];
    assert_eq!(
        (mount.path.as_str(), mount.leased, mount.read_only),
        ("/data", false, false)
    );
    let web = plan.pods.iter().find(|pod| pod.name == "web.1").unwrap();
    assert_eq!(web.mounts, []);
    let volume = platform.get("/apps/shop/volumes/data").await;
    assert_eq!(
        (&volume["node"], &volume["pods"]),
        (&json!("one"), &json!(["worker.1"]))
    );

    // The volume outlives its app's pods, but not its app.
    let id = mount.volume;
    platform.volumes = Some(vec![VolumeStatus {
        volume: id,
        used_bytes: Some(5),
        size_bytes: None,
    }]);
    platform.report().await;
    let volume = platform.get("/apps/shop/volumes/data").await;
    assert_eq!(volume["used_bytes"], 5);
    platform
        .rig
        .call(&platform.rig.alice, "DELETE", "/apps/shop", Value::Null)
        .await
        .expect(200);
    let plan = platform.orders(|plan| !plan.volumes.is_empty()).await;
    assert_eq!(
        (plan.volumes[0].volume, &plan.volumes[0].task),
        (id, &VolumeTask::Remove)
    );
    // A restarted controller has not forgotten it, and the order goes when the machine has obeyed.
    platform.crash_and_start().await;
    platform.volumes = None;
    platform.report().await;
    assert!(
        !platform.newest_plan().volumes.is_empty(),
        "it has not looked yet"
    );
    platform.volumes = Some(vec![]);
    platform.report().await;
    platform.orders(|plan| plan.volumes.is_empty()).await;
}

#[tokio::test]
async fn a_snapshot_stops_the_pod_and_a_restore_does_so_again() {
    let mut platform = Platform::with_volume().await;
    let before = platform.pod("worker.1");
    let begun = platform
        .ask_volumes("POST", "volumes/data/actions/snapshot", json!({}))
        .await;
    let plan = platform.orders(|plan| !plan.volumes.is_empty()).await;
    assert!(!has_worker(&plan), "nobody has it while it is copied");
    let order = plan.volumes[0].clone();
    let VolumeTask::Save { snapshot, .. } = order.task else {
        panic!("{order:?}");
    };
    assert_eq!(json!(snapshot), begun["id"]);
    let path = format!(
        "/internal/nodes/one/volumes/{}/snapshots/{snapshot}",
        order.volume
    );
    // Nothing is to be loaded now, and nothing is complete by words alone.
    platform
        .node_call("GET", &path, Value::Null)
        .await
        .expect(409);
    platform
        .node_call("POST", &path, json!({ "failure": null }))
        .await
        .expect(422);
    platform
        .node_call("PUT", &path, json!("the archive"))
        .await
        .expect(204);
    let plan = platform.orders(has_worker).await;
    assert!(plan.volumes.is_empty() && platform.pod("worker.1") != before);
    let snapshots = platform.get("/apps/shop/volume-snapshots").await;
    assert_eq!(
        (&snapshots[0]["state"], &snapshots[0]["bytes"]),
        (&json!("complete"), &json!(13))
    );

    platform.say("worker.1", "ready").await;
    let body = json!({ "snapshot": begun["id"] });
    platform
        .ask_volumes("POST", "volumes/data/actions/restore", body)
        .await;
    let plan = platform.orders(|plan| !plan.volumes.is_empty()).await;
    assert!(matches!(plan.volumes[0].task, VolumeTask::Load { .. }));
    let archive = platform.node_call("GET", &path, Value::Null).await;
    assert_eq!(archive.text, "\"the archive\"");
    platform
        .node_call("POST", &path, json!({ "failure": null }))
        .await
        .expect(200);
    platform
        .orders(|plan| plan.volumes.is_empty() && has_worker(plan))
        .await;
    let destroy = format!("volume-snapshots/{snapshot}");
    platform.ask_volumes("DELETE", &destroy, Value::Null).await;
    let folder = platform.rig.dir.path().join("volumes");
    let files = std::fs::read_dir(folder).unwrap().flatten();
    let files: usize = files
        .map(|it| std::fs::read_dir(it.path()).unwrap().count())
        .sum();
    assert_eq!(files, 0, "its archive is gone");
}

#[tokio::test]
async fn what_fails_leaves_the_volume_as_it_was() {
    let mut platform = Platform::with_volume().await;
    let begun = platform
        .ask_volumes("POST", "volumes/data/actions/snapshot", json!({}))
        .await;
    let plan = platform.orders(|plan| !plan.volumes.is_empty()).await;
    let snapshot = begun["id"].as_str().unwrap();
    let path = format!(
        "/internal/nodes/one/volumes/{}/snapshots/{snapshot}",
        plan.volumes[0].volume
    );
    // It is the machine's own business only.
    let foreign = path.replace("/one/", "/two/");
    platform
        .node_call("POST", &foreign, json!({ "failure": "x" }))
        .await
        .expect(403);
    platform
        .node_call("POST", &path, json!({ "failure": "the disk is full" }))
        .await
        .expect(200);
    platform
        .orders(|plan| plan.volumes.is_empty() && has_worker(plan))
        .await;
    let snapshots = platform.get("/apps/shop/volume-snapshots").await;
    assert_eq!(snapshots[0]["failure"], "one: the disk is full");
    platform
        .node_call("PUT", &path, json!("late"))
        .await
        .expect(409);
    let events = platform.get("/apps/shop/events").await.to_string();
    assert!(
        events.contains("snapshot failed: one: the disk is full"),
        "{events}"
    );
}
