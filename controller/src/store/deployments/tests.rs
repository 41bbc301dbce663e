use fairway_api::ids::PodId;
use fairway_scheduler::snapshot::Failure;

use super::*;
use crate::{
    store::{columns::now, releases},
    testing::Rig,
};

/// A release to deploy, and a queued deployment of it.
async fn queued(rig: &Rig) -> (ReleaseId, AppId) {
    rig.app("shop").await;
    rig.release("shop").await;
    let mut tx = rig.state().store.read().await.unwrap();
    let release = releases::current(&mut tx).await.unwrap().remove(0);
    (release.id, release.app)
}

fn row(release: ReleaseId, app: AppId, state: DeploymentState) -> DeploymentRow {
    DeploymentRow {
        id: DeploymentId::generate(),
        app,
        release,
        build: None,
        strategy: Strategy::default(),
        wish: None,
        state,
        deadline_at: Some(now()),
        created_at: now(),
        updated_at: now(),
    }
}

/// One of each, and whether it is open.
fn every_state(release: ReleaseId) -> Vec<(DeploymentState, bool)> {
    let failure = Failure {
        reason: "web.1 exited".into(),
        lines: vec!["a line".into()],
    };
    vec![
        (DeploymentState::Queued, true),
        (
            DeploymentState::ReleasePhase {
                pod: PodId::generate(),
            },
            true,
        ),
        (DeploymentState::Starting, true),
        (DeploymentState::Rolling { replaced: 2 }, true),
        (
            DeploymentState::RollingBack {
                failure: failure.clone(),
                restored: 1,
            },
            true,
        ),
        (
            DeploymentState::CanaryStarting {
                step: 1,
                share: Some(0),
            },
            true,
        ),
        (DeploymentState::Canary { step: 1 }, true),
        (
            DeploymentState::Paused {
                resumes: Box::new(DeploymentState::Canary { step: 1 }),
                left_secs: 7,
            },
            true,
        ),
        (DeploymentState::Baking { warm: release }, true),
        (DeploymentState::Reverted { to: 1 }, false),
        (
            DeploymentState::Switching {
                generation: Some(7),
                warm: Some(release),
            },
            true,
        ),
        (
            DeploymentState::Switching {
                generation: None,
                warm: None,
            },
            true,
        ),
        (DeploymentState::Succeeded, false),
        (DeploymentState::Failed { failure }, false),
        (DeploymentState::Superseded { by: 9 }, false),
    ]
}

#[tokio::test]
async fn every_state_is_kept_and_an_ended_one_stays() {
    let rig = Rig::new().await;
    let (release, app) = queued(&rig).await;
    let mut tx = rig.state().store.write().await.unwrap();
    for (state, is_open) in every_state(release) {
        let deployment = row(release, app, state.clone());
        insert(&mut tx, &deployment).await.unwrap();
        let found = open(&mut tx).await.unwrap();
        let found = found.into_iter().find(|it| it.id == deployment.id);
        assert_eq!(found, is_open.then(|| deployment.clone()), "{state:?}");
        assert_eq!(
            newest_open(&mut tx, app).await.unwrap(),
            is_open.then_some(release)
        );

        let ended = DeploymentState::Succeeded;
        advance(&mut tx, deployment.id, &ended, None, now())
            .await
            .unwrap();
        // From its end no state leads back.
        advance(
            &mut tx,
            deployment.id,
            &DeploymentState::Starting,
            None,
            now(),
        )
        .await
        .unwrap();
        assert_eq!(open(&mut tx).await.unwrap(), []);
    }
}
