use fairway_api::{checks::CheckKind, names::AppName};

use super::*;
use crate::store::Store;

async fn open() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("fairway.db")).await.unwrap();
    (dir, store)
}

fn app(number: u128, name: &str) -> AppRef {
    AppRef {
        id: AppId::from_u128(number),
        name: name.parse::<AppName>().unwrap(),
    }
}

fn at(secs: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_000_000 + secs, 0).unwrap()
}

fn crash<'a>(app: &'a AppRef, pod: &'a str, cause: &'a Cause) -> Observed<'a> {
    Observed {
        app: Some(app),
        kind: "pod.crashed",
        message: "it crashed",
        pod: Some(pod),
        cause: Some(cause),
    }
}

fn everything() -> Page {
    Page::newest("position", 100)
}

#[tokio::test]
async fn repeats_are_counted_and_what_differs_is_told() {
    let (_dir, store) = open().await;
    let mut tx = store.write().await.unwrap();
    let (shop, blog) = (app(1, "shop"), app(2, "blog"));
    let (three, four) = (Cause::Exit { code: 3 }, Cause::Exit { code: 4 });
    for (event, secs) in [
        (crash(&shop, "web.1", &three), 0),
        (crash(&shop, "web.2", &three), 1),
        (crash(&shop, "web.1", &four), 2),
        (crash(&blog, "web.1", &three), 3),
        (crash(&shop, "web.1", &three), 60),
        (crash(&shop, "web.1", &three), 120),
        // More than an hour after the last one it is news again.
        (crash(&shop, "web.1", &three), 120 + 3_601),
    ] {
        observe(&mut tx, &event, at(secs)).await.unwrap();
    }
    let filter = EventFilter::default();
    let events = list(&mut tx, Some(shop.id), &filter, &everything())
        .await
        .unwrap();
    let shown: Vec<_> = (events.iter())
        .map(|it| {
            (
                it.pod.as_deref().unwrap(),
                it.cause.clone().unwrap(),
                it.count,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("web.1", three.clone(), 1),
            ("web.1", three.clone(), 3),
            ("web.1", four, 1),
            ("web.2", three, 1),
        ]
    );
    assert_eq!(
        (events[1].created_at, events[1].updated_at),
        (at(0), at(120))
    );
    let places: Vec<_> = events.iter().map(|it| it.position).collect();
    assert_eq!(places, [7, 6, 3, 2], "a repeat comes anew");
}

#[tokio::test]
async fn what_never_ends_is_told_anew_each_day() {
    let (_dir, store) = open().await;
    let mut tx = store.write().await.unwrap();
    let (shop, cause) = (app(1, "shop"), Cause::Exit { code: 3 });
    for minutes in 0..=24 * 60 {
        let event = crash(&shop, "web.1", &cause);
        observe(&mut tx, &event, at(minutes * 60)).await.unwrap();
    }
    observe(&mut tx, &crash(&shop, "web.1", &cause), at(24 * 3600 + 1))
        .await
        .unwrap();
    let filter = EventFilter::default();
    let events = list(&mut tx, None, &filter, &everything()).await.unwrap();
    let counts: Vec<_> = events.iter().map(|it| it.count).collect();
    assert_eq!(counts, [1, 24 * 60 + 1]);
}

#[tokio::test]
async fn a_filter_means_the_same_in_the_database_and_beside_it() {
    let (_dir, store) = open().await;
    let mut tx = store.write().await.unwrap();
    let shop = app(1, "shop");
    let failed = Cause::CheckFailed {
        check: CheckKind::Startup,
        asked: "GET /".into(),
        why: "answered 500".into(),
        response: None,
    };
    let exit = Cause::Exit { code: 3 };
    record(&mut tx, Some(&shop), "a@b.c", "app.created", "made")
        .await
        .unwrap();
    for (pod, cause) in [("web.1", &exit), ("web.10", &exit), ("webhook.1", &failed)] {
        observe(&mut tx, &crash(&shop, pod, cause), at(0))
            .await
            .unwrap();
    }
    let all = after(&mut tx, None, 0, 100).await.unwrap();
    assert_eq!(all.len(), 4);
    assert_eq!(all[3].code.as_deref(), Some("R10"));
    let types = [
        None,
        Some("exit"),
        Some("check-failed,app.created"),
        Some("app"),
        Some(""),
    ];
    for types in types {
        for process in [
            None,
            Some("web"),
            Some("web.1"),
            Some("webhook"),
            Some("we"),
        ] {
            let filter = EventFilter {
                types: types.map(Into::into),
                process: process.map(Into::into),
            };
            let mut listed = list(&mut tx, Some(shop.id), &filter, &everything())
                .await
                .unwrap();
            listed.reverse();
            let shown: Vec<_> = all.iter().filter(|it| filter.shows(it)).cloned().collect();
            assert_eq!(listed, shown, "{filter:?}");
        }
    }
}

#[tokio::test]
async fn followers_hear_of_what_comes_and_only_of_their_app() {
    let (_dir, store) = open().await;
    let (shop, blog) = (app(1, "shop"), app(2, "blog"));
    let mut news = store.events();
    let mut tx = store.write().await.unwrap();
    record(&mut tx, Some(&shop), "a@b.c", "app.created", "made")
        .await
        .unwrap();
    assert!(!news.has_changed().unwrap(), "it may yet be taken back");
    tx.commit().await.unwrap();
    assert!(news.has_changed().unwrap());
    assert_eq!(*news.borrow_and_update(), 1);
    // A commit without an event wakes nobody.
    store.write().await.unwrap().commit().await.unwrap();
    assert!(!news.has_changed().unwrap());
    let mut tx = store.read().await.unwrap();
    assert_eq!(newest(&mut tx).await.unwrap(), 1);
    assert_eq!(after(&mut tx, Some(shop.id), 0, 9).await.unwrap().len(), 1);
    assert!(
        after(&mut tx, Some(shop.id), 1, 9)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        after(&mut tx, Some(blog.id), 0, 9)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn events_of_a_version_before_are_numbered_in_their_order() {
    let (_dir, store) = open().await;
    let mut tx = store.write().await.unwrap();
    record(&mut tx, None, "a@b.c", "first", "one")
        .await
        .unwrap();
    for (id, kind) in [(9_u128, "third"), (5, "second")] {
        query(
            "INSERT INTO events (id, app_id, app_name, actor, kind, message, created_at)
             VALUES ($1, NULL, NULL, 'a@b.c', $2, 'm', 0)",
        )
        .bind(EventId::from_u128(id).to_string())
        .bind(kind)
        .execute(&mut *tx)
        .await
        .unwrap();
    }
    number_all(&mut tx).await.unwrap();
    let events = after(&mut tx, None, 0, 9).await.unwrap();
    let kinds: Vec<_> = events
        .iter()
        .map(|it| (it.kind.as_str(), it.position))
        .collect();
    assert_eq!(kinds, [("first", 1), ("second", 2), ("third", 3)]);
    record(&mut tx, None, "a@b.c", "fourth", "four")
        .await
        .unwrap();
    assert_eq!(newest(&mut tx).await.unwrap(), 4);
}

#[tokio::test]
async fn what_was_observed_is_bounded_and_what_people_did_stays() {
    let (_dir, store) = open().await;
    let mut tx = store.write().await.unwrap();
    let (shop, blog) = (app(1, "shop"), app(2, "blog"));
    let cause = Cause::Exit { code: 3 };
    record(&mut tx, Some(&shop), "a@b.c", "app.created", "made")
        .await
        .unwrap();
    for (app, pod, secs) in [
        (&shop, "web.1", 0),
        (&shop, "web.2", 100),
        (&shop, "web.3", 101),
        (&shop, "web.4", 102),
        (&blog, "web.1", 103),
    ] {
        observe(&mut tx, &crash(app, pod, &cause), at(secs))
            .await
            .unwrap();
    }
    forget_observed(&mut tx, at(100), 2).await.unwrap();
    let left = after(&mut tx, None, 0, 9).await.unwrap();
    let left: Vec<_> = left
        .iter()
        .map(|it| it.pod.as_deref().unwrap_or(""))
        .collect();
    assert_eq!(left, ["", "web.3", "web.4", "web.1"]);
}
