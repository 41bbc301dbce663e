//! Volumes and config files: what is made, and what is refused with what to do.

use fairway_api::{
    machines::NodeFacts, nodes::Capacity, placement::NodeKind, sizes::Resources,
    volumes::SnapshotState,
};
use serde_json::{Value, json};

use crate::{
    store::{columns::now, nodes, snapshots, volumes},
    testing::Rig,
};

const GIB: i64 = 1 << 30;

async fn post(rig: &Rig, body: Value) -> crate::testing::Reply {
    rig.call(&rig.alice, "POST", "/apps/shop/volumes", body)
        .await
}

async fn put(rig: &Rig, path: &str, body: Value) -> crate::testing::Reply {
    let path = format!("/apps/shop/volumes/{path}");
    rig.call(&rig.alice, "PUT", &path, body).await
}

/// The machine `one` says what it has, and that apps may have `/srv/media`.
async fn machine(rig: &Rig) {
    let capacity = Capacity {
        resources: Resources {
            memory_bytes: 8 << 30,
            cpu_millis: 4000,
            pids: 1 << 15,
        },
        disk_bytes: 100 << 30,
        disk_free_bytes: 90 << 30,
        architecture: "x86_64".into(),
        engine: "none".into(),
    };
    let facts = NodeFacts {
        kind: NodeKind::Vm,
        kernel: "6.1".into(),
        version: "0.1".into(),
        labels: Default::default(),
        host_paths: vec!["/srv/media".parse().unwrap()],
        clock: now(),
    };
    let mut tx = rig.state().store.write().await.unwrap();
    let one = "one".parse().unwrap();
    nodes::report(&mut tx, &one, &capacity, Some(&facts), now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_volume_is_made_mounted_unmounted_and_destroyed() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    let made = post(&rig, json!({ "name": "data", "size_bytes": 10 * GIB }))
        .await
        .expect(201);
    assert_eq!(made["release"], Value::Null);
    assert_eq!(made["volume"]["source"], json!({ "kind": "local" }));
    assert_eq!(
        (&made["volume"]["shared"], &made["volume"]["node"]),
        (&json!(false), &Value::Null)
    );
    // Before there is anything that runs, the first push takes it up.
    let at = json!({ "path": "/data" });
    let mounted = put(&rig, "data/mounts/worker", at.clone())
        .await
        .expect(200);
    assert_eq!(mounted["release"], Value::Null);
    rig.release("shop").await;
    let releases = rig.get(&rig.alice, "/apps/shop/releases").await.expect(200);
    assert_eq!(releases.as_array().unwrap().len(), 1, "{releases:#}");

    let moved = put(&rig, "data/mounts/worker", json!({ "path": "/var/data" }))
        .await
        .expect(200);
    assert_eq!(moved["release"], 2);
    let same = put(&rig, "data/mounts/worker", json!({ "path": "/var/data/" }))
        .await
        .expect(200);
    assert_eq!(same["release"], Value::Null, "nothing has changed");
    let release = rig
        .get(&rig.alice, "/apps/shop/releases/2")
        .await
        .expect(200);
    assert_eq!(
        release["description"],
        "Mount volume data in worker at /var/data"
    );

    take_apart(&rig).await;
}

/// Nothing goes while something has it, and all that was done is on the record.
async fn take_apart(rig: &Rig) {
    let path = "/apps/shop/volumes/data";
    let refused = rig
        .call(&rig.alice, "DELETE", path, Value::Null)
        .await
        .expect(409);
    assert!(
        refused["hint"]
            .as_str()
            .unwrap()
            .contains("volumes:unmount data worker")
    );
    rig.get(&rig.bob, path).await.expect(404);
    let mounts = "/apps/shop/volumes/data/mounts/worker";
    let unmounted = rig
        .call(&rig.alice, "DELETE", mounts, Value::Null)
        .await
        .expect(200);
    assert_eq!(unmounted["release"], 3);
    rig.call(&rig.alice, "DELETE", mounts, Value::Null)
        .await
        .expect(404);
    rig.call(&rig.alice, "DELETE", path, Value::Null)
        .await
        .expect(200);
    rig.get(&rig.alice, path).await.expect(404);
    let events = rig
        .get(&rig.alice, "/apps/shop/events")
        .await
        .expect(200)
        .to_string();
    for kind in [
        "volume.created",
        "volume.mounted",
        "volume.unmounted",
        "volume.destroyed",
    ] {
        assert!(events.contains(kind), "{kind}");
    }
}

/// What a person may write, the answer's status and what it says.
type Refused = (Value, u16, &'static str);

fn nfs() -> Value {
    json!({ "kind": "nfs", "share": "nas:/x" })
}

fn host(path: &str) -> Value {
    json!({ "kind": "host-path", "path": path })
}

fn bad_sizes_and_places() -> Vec<Refused> {
    vec![
        (json!({ "name": "Data" }), 422, "Volume name"),
        (
            json!({ "name": "d", "size_bytes": -1 }),
            422,
            "cannot have -1 bytes",
        ),
        (
            json!({ "name": "d", "size_bytes": 0 }),
            422,
            "cannot have 0 bytes",
        ),
        (
            json!({ "name": "d", "size_bytes": i64::MAX }),
            422,
            "from 16 MB to 16 TB",
        ),
        (
            json!({ "name": "d", "size_bytes": 101 * GIB }),
            422,
            "the largest has 100 GB",
        ),
        (
            json!({ "name": "d", "size_bytes": "10GB" }),
            422,
            "Invalid type",
        ),
        (json!({ "name": "d", "sizes": 1 }), 422, "Unknown field"),
        (json!({ "name": "d", "node": "two" }), 422, "no machine two"),
    ]
}

fn bad_sources_and_mounts() -> Vec<Refused> {
    vec![
        (
            json!({ "name": "d", "source": nfs() }),
            403,
            "made by admins",
        ),
        (
            json!({ "name": "d", "source": nfs(), "size_bytes": GIB }),
            422,
            "cannot have a size",
        ),
        (
            json!({ "name": "d", "source": host("/etc") }),
            403,
            "No machine allows",
        ),
        (
            json!({ "name": "d", "source": host("/srv/mediate") }),
            403,
            "No machine allows",
        ),
        (
            json!({ "name": "d", "source": host("/srv/media/../x") }),
            422,
            "Host path",
        ),
        (
            json!({ "name": "d", "mounts": [{ "process_type": "web", "path": "/etc" }] }),
            422,
            "belongs to the system",
        ),
        (
            json!({ "name": "d", "mounts": [{ "process_type": "release", "path": "/d" }] }),
            422,
            "release phase",
        ),
    ]
}

#[tokio::test]
async fn what_could_never_work_is_refused_with_a_reason() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    machine(&rig).await;
    let mut wrong = vec![];
    let all = [bad_sizes_and_places(), bad_sources_and_mounts()].concat();
    for (body, status, says) in all {
        let refused = post(&rig, body.clone()).await;
        if refused.status.as_u16() != status || !refused.text.contains(says) {
            wrong.push(format!("{body}: {refused:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(
        rig.get(&rig.alice, "/apps/shop/volumes").await.expect(200),
        json!([])
    );
    let allowed = json!({ "name": "media", "source": host("/srv/media/shop") });
    let made = post(&rig, allowed).await.expect(201);
    assert_eq!(made["volume"]["node"], "one");
    let by_admin = json!({ "name": "files", "source": nfs() });
    let made = rig
        .call(&rig.admin, "POST", "/apps/shop/volumes", by_admin)
        .await
        .expect(201);
    assert_eq!(
        (&made["volume"]["shared"], &made["volume"]["node"]),
        (&json!(true), &Value::Null)
    );
    post(&rig, json!({ "name": "media" })).await.expect(409);
}

#[tokio::test]
async fn a_volume_for_one_pod_and_several_pods_do_not_go_together() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.release("shop").await;
    post(&rig, json!({ "name": "data" })).await.expect(201);
    post(&rig, json!({ "name": "files", "shared": true }))
        .await
        .expect(201);
    let at = |path: &str| json!({ "path": path });
    let unknown = put(&rig, "data/mounts/wrker", at("/d")).await.expect(422);
    assert_eq!(unknown["hint"], "It has: web, worker");
    put(&rig, "data/mounts/worker", at("/data"))
        .await
        .expect(200);
    let twice = put(&rig, "data/mounts/web", at("/data")).await.expect(409);
    assert!(
        twice["message"]
            .as_str()
            .unwrap()
            .contains("one pod has it at a time"),
        "{twice}"
    );
    let taken = put(&rig, "files/mounts/worker", at("/data"))
        .await
        .expect(409);
    assert!(
        taken["message"]
            .as_str()
            .unwrap()
            .contains("data at /data already"),
        "{taken}"
    );
    put(&rig, "files/mounts/worker", at("/files"))
        .await
        .expect(200);
    put(&rig, "files/mounts/web", at("/files"))
        .await
        .expect(200);

    let scale = async |process_type: &str, quantity: u32| {
        let path = format!("/apps/shop/formation/{process_type}");
        rig.call(&rig.alice, "PATCH", &path, json!({ "quantity": quantity }))
            .await
    };
    let refused = scale("worker", 2).await.expect(409);
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("its volume data"),
        "{refused}"
    );
    scale("worker", 1).await.expect(200);
    scale("web", 3).await.expect(200);
    let policy = json!({ "min": 1, "max": 5, "cpu": 70 });
    let path = "/apps/shop/autoscale/worker";
    rig.call(&rig.alice, "PUT", path, policy).await.expect(409);
    post(&rig, json!({ "name": "more" })).await.expect(201);
    let several = put(&rig, "more/mounts/web", at("/more")).await.expect(409);
    assert!(
        several["hint"].as_str().unwrap().contains("ps:scale web=1"),
        "{several}"
    );
}

#[tokio::test]
async fn two_machines_cannot_be_one_pods() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    machine(&rig).await;
    let mut tx = rig.state().store.write().await.unwrap();
    let two = "two".parse().unwrap();
    nodes::insert(&mut tx, fairway_api::ids::NodeId::generate(), &two, now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    for (name, node) in [("a", "one"), ("b", "two")] {
        post(&rig, json!({ "name": name, "node": node }))
            .await
            .expect(201);
    }
    put(&rig, "a/mounts/web", json!({ "path": "/a" }))
        .await
        .expect(200);
    let refused = put(&rig, "b/mounts/web", json!({ "path": "/b" }))
        .await
        .expect(409);
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("a pod is on one machine"),
        "{refused}"
    );
    let removing = rig
        .call(&rig.admin, "DELETE", "/nodes/two", Value::Null)
        .await
        .expect(409);
    assert!(
        removing["message"]
            .as_str()
            .unwrap()
            .contains("1 volume of apps"),
        "{removing}"
    );
    rig.call(&rig.admin, "DELETE", "/nodes/two?force=true", Value::Null)
        .await
        .expect(200);
}

#[tokio::test]
async fn work_on_a_volume_needs_one_that_is_somewhere_and_idle() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    machine(&rig).await;
    post(&rig, json!({ "name": "data" })).await.expect(201);
    let act = async |action: &str, body: Value| {
        let path = format!("/apps/shop/volumes/data/actions/{action}");
        rig.call(&rig.alice, "POST", &path, body).await
    };
    let nowhere = act("snapshot", json!({})).await.expect(409);
    assert!(
        nowhere["message"]
            .as_str()
            .unwrap()
            .contains("on no machine yet"),
        "{nowhere}"
    );
    act("move", json!({ "to": "three" })).await.expect(422);
    let placed = act("move", json!({ "to": "one" })).await.expect(202);
    assert_eq!(
        (&placed["node"], &placed["work"]),
        (&json!("one"), &Value::Null)
    );
    act("move", json!({ "to": "one" })).await.expect(409);
    let missing = json!({ "snapshot": "01993c1e-7d4e-7000-8000-000000000001" });
    act("restore", missing).await.expect(404);
    let begun = act("snapshot", json!({})).await.expect(202);
    assert_eq!(begun["state"], "pending");
    act("snapshot", json!({})).await.expect(409);
    let destroy = "/apps/shop/volumes/data";
    rig.call(&rig.alice, "DELETE", destroy, Value::Null)
        .await
        .expect(409);
    act("restore", json!({ "snapshot": begun["id"] }))
        .await
        .expect(409);
    let path = format!(
        "/apps/shop/volume-snapshots/{}",
        begun["id"].as_str().unwrap()
    );
    rig.call(&rig.alice, "DELETE", &path, Value::Null)
        .await
        .expect(409);
}

#[tokio::test]
async fn config_files_are_config_vars_that_are_not_in_the_environment() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.release("shop").await;
    let path = |name: &str| format!("/apps/shop/config-files/{name}");
    let put = async |name: &str, body: Value| rig.call(&rig.alice, "PUT", &path(name), body).await;
    put("KEY", json!({})).await.expect(404);
    put("1KEY", json!({ "value": "x" })).await.expect(422);
    put("PORT", json!({ "value": "x" })).await.expect(422);
    let set = put("KEY", json!({ "value": "s3cret" })).await.expect(200);
    assert_eq!(
        (&set["file"]["path"], &set["release"]),
        (&json!("/run/secrets/KEY"), &json!(2))
    );
    assert!(!set.to_string().contains("s3cret"));
    let again = put("KEY", json!({ "value": "s3cret" })).await.expect(200);
    assert_eq!(again["release"], Value::Null);
    let vars = rig
        .get(&rig.alice, "/apps/shop/config-vars")
        .await
        .expect(200);
    assert_eq!(vars, json!({ "KEY": "s3cret" }));
    let files = rig
        .get(&rig.alice, "/apps/shop/config-files")
        .await
        .expect(200);
    assert_eq!(
        files,
        json!([{ "name": "KEY", "path": "/run/secrets/KEY", "is_set": true }])
    );
    let unset = rig
        .call(&rig.alice, "DELETE", &path("KEY"), Value::Null)
        .await
        .expect(200);
    assert_eq!(unset["release"], 3);
    rig.call(&rig.alice, "DELETE", &path("KEY"), Value::Null)
        .await
        .expect(404);
    rig.get(&rig.bob, "/apps/shop/config-files")
        .await
        .expect(404);
}

#[tokio::test]
async fn every_state_of_a_snapshot_is_one_that_the_table_knows() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    post(&rig, json!({ "name": "data" })).await.expect(201);
    let mut tx = rig.state().store.write().await.unwrap();
    let volume = volumes::all(&mut tx).await.unwrap().remove(0);
    for state in [
        SnapshotState::Pending,
        SnapshotState::Complete,
        SnapshotState::Failed,
    ] {
        let row = snapshots::SnapshotRow {
            id: fairway_api::ids::SnapshotId::generate(),
            app: volume.app,
            volume: volume.id,
            volume_name: volume.name.clone(),
            state,
            failure: None,
            bytes: Some(7),
            created_at: now(),
            updated_at: now(),
        };
        snapshots::insert(&mut tx, &row).await.unwrap();
        assert!(
            snapshots::of_app(&mut tx, volume.app)
                .await
                .unwrap()
                .contains(&row)
        );
    }
}
