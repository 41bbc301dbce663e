use super::*;
use crate::{
    store::{columns::now, jobs, releases},
    testing::Rig,
};

async fn run(db: &mut Db, job: Option<&str>, state: RunState) -> RunRow {
    let release = releases::current(db).await.unwrap().remove(0);
    let at = now();
    RunRow {
        id: RunId::generate(),
        app: release.app,
        release: release.id,
        kind: RunKind::Job,
        job: job.map(|name| name.parse().unwrap()),
        name: "nightly.10001".into(),
        number: 10_001,
        size: "nano".parse().unwrap(),
        work: Some("sealed".into()),
        shape: Shape {
            completions: 3,
            parallelism: 2,
            retries: 1,
            timeout_secs: 60,
        },
        progress: Progress {
            next: 2,
            ..Progress::default()
        },
        state,
        exit_code: Some(3),
        reason: Some("exited with code 3".into()),
        scheduled_at: Some(at),
        skipped: 4,
        actor: "platform".into(),
        created_at: at,
        ended_at: state.has_ended().then_some(at),
    }
}

async fn rig() -> Rig {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.release("shop").await;
    rig
}

#[tokio::test]
async fn a_run_comes_back_as_it_was_written_and_ends_once() {
    let rig = rig().await;
    let mut tx = rig.state().store.write().await.unwrap();
    use RunState::*;
    for state in [Running, Succeeded, Failed, TimedOut, Cancelled, Missed] {
        for kind in [RunKind::OneOff, RunKind::Job] {
            let mut row = run(&mut tx, None, state).await;
            row.kind = kind;
            insert(&mut tx, &row).await.unwrap();
            let which = row.id.to_string();
            assert_eq!(find(&mut tx, row.app, &which).await.unwrap(), row);
        }
    }
    let open_now = open(&mut tx).await.unwrap();
    assert_eq!(open_now.len(), 2);
    let (id, app) = (open_now[0].id, open_now[0].app);
    assert!(
        end(&mut tx, id, Cancelled, None, Some("stopped"), now())
            .await
            .unwrap()
    );
    // Whoever looked before it ended changes nothing any more.
    assert!(
        !end(&mut tx, id, Failed, Some(1), None, now())
            .await
            .unwrap()
    );
    progress(&mut tx, id, &Progress::default()).await.unwrap();
    let ended = find(&mut tx, app, &id.to_string()).await.unwrap();
    assert_eq!((ended.state, ended.progress.next), (Cancelled, 2));
    assert_eq!(open_of(&mut tx, app).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_scheduled_time_has_one_run() {
    let rig = rig().await;
    let mut tx = rig.state().store.write().await.unwrap();
    let first = run(&mut tx, Some("nightly"), RunState::Running).await;
    insert(&mut tx, &first).await.unwrap();
    let mut second = run(&mut tx, Some("nightly"), RunState::Running).await;
    second.scheduled_at = first.scheduled_at;
    let refused = insert(&mut tx, &second).await.unwrap_err();
    assert!(refused.conflicts_on("runs.scheduled_at"), "{refused:?}");
    let known = taken(&mut tx, Some(first.app)).await.unwrap();
    assert_eq!(
        (known[0].at, known[0].number),
        (first.scheduled_at.unwrap(), 10_001)
    );
    assert_eq!(taken(&mut tx, None).await.unwrap(), known);
}

#[tokio::test]
async fn history_is_bounded_and_open_runs_stay() {
    let rig = rig().await;
    let mut tx = rig.state().store.write().await.unwrap();
    let old = run(&mut tx, Some("nightly"), RunState::Running).await;
    insert(&mut tx, &old).await.unwrap();
    let other = run(&mut tx, Some("hourly"), RunState::Succeeded).await;
    insert(&mut tx, &other).await.unwrap();
    let mut last = None;
    for _ in 0..RUNS_KEPT_PER_JOB + 5 {
        let row = run(&mut tx, Some("nightly"), RunState::Failed).await;
        insert(&mut tx, &row).await.unwrap();
        forget_old(&mut tx, row.id).await.unwrap();
        last = Some(row);
    }
    let kept = list(&mut tx, old.app, &Page::all("id")).await.unwrap();
    let nightly = kept.iter().filter(|row| row.job == old.job).count();
    assert_eq!(
        nightly,
        RUNS_KEPT_PER_JOB as usize + 1,
        "the open one is beside them"
    );
    assert!(kept.contains(&other));
    let newest = newest_of(&mut tx, old.app, &"nightly".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(newest, last);
}

#[tokio::test]
async fn a_suspended_job_is_remembered_and_begins_anew() {
    use fairway_scheduler::jobs::Decided;
    let rig = rig().await;
    let mut tx = rig.state().store.write().await.unwrap();
    let app = releases::current(&mut tx).await.unwrap()[0].app;
    let name: JobName = "nightly".parse().unwrap();
    let decided = Decided {
        schedule: "@daily UTC".into(),
        until: now(),
    };
    jobs::decide(&mut tx, app, &name, Some(&decided))
        .await
        .unwrap();
    assert_eq!(
        jobs::of_app(&mut tx, app).await.unwrap()[0].decided,
        Some(decided.clone())
    );
    jobs::suspend(&mut tx, app, &name, Some("a@b.c"), now())
        .await
        .unwrap();
    // The loop had looked before.
    jobs::decide(&mut tx, app, &name, Some(&decided))
        .await
        .unwrap();
    let row = jobs::all(&mut tx).await.unwrap().remove(0);
    assert!(row.suspended && row.decided.is_none());
    jobs::decide(&mut tx, app, &name, None).await.unwrap();
    assert_eq!(
        jobs::all(&mut tx).await.unwrap().len(),
        1,
        "it outlives the release"
    );
    jobs::suspend(&mut tx, app, &name, None, now())
        .await
        .unwrap();
    jobs::decide(&mut tx, app, &name, None).await.unwrap();
    assert!(jobs::all(&mut tx).await.unwrap().is_empty());
}
