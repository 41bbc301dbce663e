use fairway_api::{placement::NodeKind, sizes::Resources};

use super::*;
use crate::store::{Store, columns::now};

fn capacity() -> Capacity {
    Capacity {
        resources: Resources {
            memory_bytes: 1 << 30,
            cpu_millis: 2000,
            pids: 100,
        },
        disk_bytes: 1 << 40,
        disk_free_bytes: 1 << 39,
        architecture: "x86_64".into(),
        engine: "none".into(),
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let parse = |(key, value): &(&str, &str)| (key.parse().unwrap(), value.parse().unwrap());
    pairs.iter().map(parse).collect()
}

#[tokio::test]
async fn a_machine_keeps_what_operators_said_whatever_it_reports() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("fairway.db")).await.unwrap();
    let mut tx = store.write().await.unwrap();
    let name: NodeName = "one".parse().unwrap();
    let id = NodeId::generate();
    insert(&mut tx, id, &name, now()).await.unwrap();
    let taken = insert(&mut tx, NodeId::generate(), &name, now()).await;
    assert!(taken.unwrap_err().conflicts_on("nodes.name"));

    let facts = NodeFacts {
        kind: NodeKind::Vm,
        kernel: "6.1".into(),
        version: "0.1".into(),
        labels: labels(&[("zone", "a"), ("disk", "ssd"), ("rack", "1")]),
        host_paths: vec![],
        clock: now(),
    };
    let mut capacity = capacity();
    for intent in [
        NodeIntent::Ready,
        NodeIntent::Cordoned,
        NodeIntent::Draining,
    ] {
        let mut row = find(&mut tx, "one").await.unwrap();
        row.intent = intent;
        row.own_labels = BTreeMap::from([
            ("zone".parse().unwrap(), Some("b".parse().unwrap())),
            ("disk".parse().unwrap(), None),
        ]);
        row.taints = vec!["gpu=yes:no-schedule".parse().unwrap()];
        update(&mut tx, &row, row.updated_at).await.unwrap();
        capacity.resources.cpu_millis += 1000;
        report(&mut tx, &name, &capacity, Some(&facts), now())
            .await
            .unwrap();
        // An agent that tells less takes nothing back.
        report(&mut tx, &name, &capacity, None, row.updated_at)
            .await
            .unwrap();
        let rows = all(&mut tx).await.unwrap();
        assert_eq!(rows.len(), 1);
        row.capacity = Some(capacity.clone());
        row.facts = Some(facts.clone());
        assert_eq!(rows[0], row);
        assert_eq!(rows[0].labels(), labels(&[("zone", "b"), ("rack", "1")]));
    }
    delete(&mut tx, id).await.unwrap();
    report(&mut tx, &name, &capacity, None, now())
        .await
        .unwrap();
    assert_eq!(
        all(&mut tx).await.unwrap(),
        [],
        "a report brings no machine back"
    );
}
