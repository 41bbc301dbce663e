use fairway_api::sizes::Resources;
use sqlx::AssertSqlSafe;

use super::*;
use crate::store::{Store, columns::now};

#[tokio::test]
async fn a_machine_joins_with_its_first_report_and_keeps_its_intent() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("fairway.db")).await.unwrap();
    let mut tx = store.write().await.unwrap();
    let name: NodeName = "one".parse().unwrap();
    let mut capacity = Capacity {
        resources: Resources {
            memory_bytes: 1 << 30,
            cpu_millis: 2000,
            pids: 100,
        },
        disk_bytes: 1 << 40,
        disk_free_bytes: 1 << 39,
        architecture: "x86_64".into(),
        engine: "none".into(),
    };
    report(&mut tx, &name, &capacity, now()).await.unwrap();
    for intent in [
        NodeIntent::Ready,
        NodeIntent::Cordoned,
        NodeIntent::Draining,
    ] {
        let word = columns::word(intent).unwrap();
        let set = format!("UPDATE nodes SET intent = '{word}'");
        sqlx::query(AssertSqlSafe(set))
            .execute(&mut *tx)
            .await
            .unwrap();
        capacity.resources.cpu_millis += 1000;
        report(&mut tx, &name, &capacity, now()).await.unwrap();
        let rows = all(&mut tx).await.unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (rows[0].intent, rows[0].capacity.as_ref()),
            (intent, Some(&capacity))
        );
    }
}
