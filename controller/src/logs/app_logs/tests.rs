use std::{collections::HashSet, fs, path::Path};

use chrono::{TimeZone, Utc};
use fairway_api::{
    ids::AppId,
    logs::{LOG_LINE_BYTES_MAX, LogLine, LogSource},
};
use tokio::sync::broadcast::error::RecvError;

use super::{
    AppLogs, FOLLOWER_LINES_MAX, FOLLOWERS_MAX, LogFilter,
    history::{SEGMENT_BYTES, SEGMENTS_MAX},
};

const APP: AppId = AppId::from_u128(1);
const OTHER: AppId = AppId::from_u128(2);

fn line(app: AppId, text: impl Into<String>) -> LogLine {
    LogLine {
        app,
        at: Utc.timestamp_micros(1_700_000_000_123_456).unwrap(),
        source: LogSource::App,
        process: "web.1".into(),
        pod: None,
        text: text.into(),
    }
}

async fn texts(logs: &AppLogs, app: AppId, lines: usize) -> Vec<String> {
    let followed = logs
        .follow(app, LogFilter::default(), lines)
        .await
        .unwrap()
        .unwrap();
    followed.past.into_iter().map(|line| line.text).collect()
}

#[tokio::test]
async fn lines_are_kept_per_app_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let logs = AppLogs::open(dir.path()).unwrap();
    logs.append(vec![
        line(APP, "one"),
        line(OTHER, "theirs"),
        line(APP, "two"),
    ])
    .await;
    assert_eq!(texts(&logs, APP, 10).await, ["one", "two"]);
    drop(logs);
    let logs = AppLogs::open(dir.path()).unwrap();
    logs.append(vec![line(APP, "three")]).await;
    assert_eq!(texts(&logs, APP, 10).await, ["one", "two", "three"]);
    assert_eq!(texts(&logs, APP, 2).await, ["two", "three"]);
    assert_eq!(texts(&logs, OTHER, 10).await, ["theirs"]);
    let kept = logs
        .follow(APP, LogFilter::default(), 1)
        .await
        .unwrap()
        .unwrap()
        .past;
    assert_eq!(kept, [line(APP, "three")], "every field comes back");
}

#[tokio::test]
async fn a_torn_line_costs_itself_only() {
    let dir = tempfile::tempdir().unwrap();
    let logs = AppLogs::open(dir.path()).unwrap();
    logs.append(vec![line(APP, "one"), line(APP, "torn")]).await;
    assert_eq!(texts(&logs, APP, 10).await.len(), 2);
    drop(logs);
    let segment = dir.path().join(APP.to_string()).join("0.log");
    let whole = fs::read(&segment).unwrap();
    for cut in 1..20 {
        fs::write(&segment, &whole[..whole.len() - cut]).unwrap();
        let logs = AppLogs::open(dir.path()).unwrap();
        logs.append(vec![line(APP, "two")]).await;
        // Cutting only the line end leaves a line that can be read.
        let expected = if cut == 1 {
            vec!["one", "torn", "two"]
        } else {
            vec!["one", "two"]
        };
        assert_eq!(texts(&logs, APP, 10).await, expected, "cut by {cut} bytes");
    }
}

fn bytes_in(folder: &Path) -> u64 {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum()
}

#[tokio::test]
async fn an_app_that_talks_a_lot_keeps_its_newest_lines() {
    let dir = tempfile::tempdir().unwrap();
    let logs = AppLogs::open(dir.path()).unwrap();
    let text = "x".repeat(10_000);
    let lines = 2 * (SEGMENT_BYTES * SEGMENTS_MAX / 10_000) as usize;
    for batch in 0..lines / 100 {
        let numbered = |n: usize| line(APP, format!("{} {text}", batch * 100 + n));
        logs.append((0..100).map(numbered).collect()).await;
    }
    let all = texts(&logs, APP, usize::MAX).await;
    let numbers: Vec<usize> = all
        .iter()
        .map(|text| text.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(*numbers.last().unwrap(), lines / 100 * 100 - 1);
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "no gaps"
    );
    assert!(numbers.len() > lines / 4, "several segments are kept");
    // One batch may reach past the end of each segment.
    let most = SEGMENTS_MAX * (SEGMENT_BYTES + 100 * 10_200);
    assert!(bytes_in(&dir.path().join(APP.to_string())) <= most);
}

#[tokio::test]
async fn nothing_is_doubled_or_lost_between_past_and_live() {
    let dir = tempfile::tempdir().unwrap();
    let logs = AppLogs::open(dir.path()).unwrap();
    let write = async {
        for n in 0..500 {
            logs.append(vec![line(APP, n.to_string())]).await;
        }
    };
    let follow = async {
        tokio::task::yield_now().await;
        logs.follow(APP, LogFilter::default(), usize::MAX)
            .await
            .unwrap()
            .unwrap()
    };
    let ((), mut followed) = tokio::join!(write, follow);
    let mut seen: Vec<String> = followed.past.drain(..).map(|line| line.text).collect();
    while seen.len() < 500 {
        seen.push(followed.live.recv().await.unwrap().text.clone());
    }
    assert_eq!(seen, (0..500).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_slow_follower_holds_up_nobody_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let logs = AppLogs::open(dir.path()).unwrap();
    let mut followed = logs
        .follow(APP, LogFilter::default(), 0)
        .await
        .unwrap()
        .unwrap();
    let lines = FOLLOWER_LINES_MAX + 10;
    logs.append((0..lines).map(|n| line(APP, n.to_string())).collect())
        .await;
    assert_eq!(texts(&logs, APP, 1).await, [(lines - 1).to_string()]);
    assert!(matches!(
        followed.live.recv().await,
        Err(RecvError::Lagged(10))
    ));
    assert_eq!(followed.live.recv().await.unwrap().text, "10");
}

#[tokio::test]
async fn long_and_many_lined_texts_become_several_lines() {
    let dir = tempfile::tempdir().unwrap();
    let logs = AppLogs::open(dir.path()).unwrap();
    // Three-byte characters, so that a cut at the limit would fall inside of one.
    let long = "€".repeat(LOG_LINE_BYTES_MAX / 3 + 10);
    logs.append(vec![
        line(APP, "a\nb\n\nc"),
        line(APP, long.clone()),
        line(APP, ""),
    ])
    .await;
    let kept = texts(&logs, APP, 100).await;
    assert_eq!(kept[..4], ["a", "b", "", "c"]);
    assert_eq!(kept[4..6].concat(), long);
    assert!(kept[4].len() <= LOG_LINE_BYTES_MAX);
    assert_eq!(kept[6..], [""]);
}

#[tokio::test]
async fn forgotten_apps_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let logs = AppLogs::open(dir.path()).unwrap();
    logs.append(vec![line(APP, "one"), line(OTHER, "two")])
        .await;
    let mut followed = logs
        .follow(APP, LogFilter::default(), 0)
        .await
        .unwrap()
        .unwrap();
    logs.forget(APP).await;
    assert!(matches!(followed.live.recv().await, Err(RecvError::Closed)));
    assert_eq!(texts(&logs, APP, 10).await, [""; 0]);
    assert!(!dir.path().join(APP.to_string()).exists());
    logs.retain(&HashSet::from([APP])).unwrap();
    assert!(!dir.path().join(OTHER.to_string()).exists());
}

#[tokio::test]
async fn an_app_has_a_limit_of_followers_who_make_room_when_they_leave() {
    let dir = tempfile::tempdir().unwrap();
    let logs = AppLogs::open(dir.path()).unwrap();
    let follow = || logs.follow(APP, LogFilter::default(), 0);
    let mut all = Vec::new();
    for _ in 0..FOLLOWERS_MAX {
        all.push(follow().await.unwrap().unwrap());
    }
    assert!(follow().await.unwrap().is_none());
    all.pop();
    assert!(follow().await.unwrap().is_some());
}
