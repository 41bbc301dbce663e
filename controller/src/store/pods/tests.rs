use fairway_api::pods::PodPhase;

use super::*;
use crate::{
    store::{columns::now, releases},
    testing::Rig,
};

#[tokio::test]
async fn a_pod_is_kept_through_its_life() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.release("shop").await;
    let mut tx = rig.state().store.write().await.unwrap();
    let release = releases::current(&mut tx).await.unwrap().remove(0);
    for kind in [PodKind::Service, PodKind::ReleasePhase, PodKind::Run] {
        let at = now();
        let mut pod = PodRow {
            id: PodId::generate(),
            app: release.app,
            release: release.id,
            kind,
            process_type: "web".parse().unwrap(),
            name: "web.1".into(),
            ordinal: 1,
            size: "nano".parse().unwrap(),
            node: None,
            unplaced: None,
            intent: PodIntent::Wanted,
            one_off: Some("sealed".into()),
            status: None,
            created_at: at,
            updated_at: at,
        };
        insert(&mut tx, &pod).await.unwrap();
        assert_eq!(all(&mut tx).await.unwrap(), [pod.clone()]);

        pod.unplaced = Some("one: is cordoned".into());
        let app = pod.app;
        write(&mut tx, &[(app, &pod.known(None, Default::default()))], at)
            .await
            .unwrap();
        assert_eq!(of_app(&mut tx, app).await.unwrap(), [pod.clone()]);

        let status = PodStatus {
            id: pod.id,
            phase: PodPhase::BackOff { until: at },
            address: Some([10, 0, 0, 1].into()),
            restarts: 3,
            started_at: Some(at),
            last_exit: None,
            check_failure: None,
            containers: vec![],
        };
        let node: NodeName = "one".parse().unwrap();
        (pod.node, pod.unplaced, pod.status) = (Some(node), None, Some(status));
        let before = pod.known(None, Default::default());
        pod.intent = PodIntent::Retired { at, unrouted_in: 7 };
        let mut retired = pod.known(None, Default::default());
        write(&mut tx, &[(app, &retired)], at).await.unwrap();
        // What is retired stays so since then, whatever somebody knows who looked before.
        retired.intent = PodIntent::Retired {
            at: at + chrono::TimeDelta::seconds(1),
            unrouted_in: 8,
        };
        write(&mut tx, &[(app, &retired)], at).await.unwrap();
        write(&mut tx, &[(app, &before)], at).await.unwrap();
        assert_eq!(all(&mut tx).await.unwrap(), [pod.clone()]);

        stop(&mut tx, pod.id, at).await.unwrap();
        pod.intent = PodIntent::Stopping;
        assert_eq!(all(&mut tx).await.unwrap(), [pod.clone()]);
        write(&mut tx, &[(app, &before)], at).await.unwrap();
        assert_eq!(all(&mut tx).await.unwrap(), [pod.clone()]);
        delete(&mut tx, &[pod.id]).await.unwrap();
        assert_eq!(all(&mut tx).await.unwrap(), []);
    }
}
