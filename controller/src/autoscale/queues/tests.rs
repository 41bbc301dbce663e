use axum::{Router, http::HeaderMap as Headers, response::Redirect, routing::get};
use serde_json::json;
use tokio::net::TcpListener;

use super::*;

/// A server of queues on loopback, and its port.
async fn server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let secret = async |headers: Headers| match headers.get("x-key") {
        Some(key) if key == "s3cret" => "7".to_owned(),
        _ => "0".to_owned(),
    };
    let endless = async || "1".repeat(ANSWER_BYTES_MAX + 1);
    let router = Router::new()
        .route("/length", get(async || "12"))
        .route("/json", get(async || "{\"messages\": 30}"))
        .route("/secret", get(secret))
        .route("/endless", get(endless))
        .route("/away", get(async || Redirect::temporary("/length")));
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

fn queue(url: &str, value: Option<&str>) -> Queue {
    let queue = json!({ "url": url, "target": 10, "value": value });
    serde_json::from_value(queue).unwrap()
}

/// As if the app's own pods had this address.
fn question(queue: Queue, own: Option<[u8; 4]>) -> Question {
    Question {
        key: (AppId::from_u128(1), "worker".parse().unwrap()),
        headers: HeaderMap::new(),
        own: own.map(|address| vec![address.into()]),
        queue,
    }
}

#[tokio::test]
async fn own_pods_are_asked_and_their_answers_bounded() {
    let port = server().await;
    let loopback = Some([127, 0, 0, 1]);
    let ask = async |path: &str, value: Option<&str>| {
        let url = format!("http://web.shop.internal:{port}{path}");
        let answer = ask(&question(queue(&url, value), loopback)).await;
        answer.map_err(|why| why.to_string())
    };
    assert_eq!(ask("/length", None).await, Ok(12.0));
    assert_eq!(ask("/json", Some("/messages")).await, Ok(30.0));
    for (path, says) in [
        ("/away", "it answered 307 Temporary Redirect"),
        ("/nowhere", "it answered 404 Not Found"),
        ("/endless", "larger than"),
        ("/json", "no number"),
    ] {
        let why = ask(path, None).await.unwrap_err();
        assert!(why.contains(says), "{path}: {why}");
    }
    let url = format!("http://web.shop.internal:{port}/secret");
    let mut with_key: Question = question(queue(&url, None), loopback);
    let vars = [("QUEUE_KEY".parse().unwrap(), Secret::new("s3cret"))].into();
    with_key.queue.headers = [("X-Key".to_owned(), "QUEUE_KEY".parse().unwrap())].into();
    with_key.headers = headers(&with_key.queue, &vars).unwrap();
    assert_eq!(super::ask(&with_key).await.unwrap(), 7.0);
    let missing = headers(&with_key.queue, &ConfigVars::default()).unwrap_err();
    assert!(missing.to_string().contains("QUEUE_KEY"), "{missing}");
}

#[tokio::test]
async fn nothing_of_the_operators_is_asked() {
    let port = server().await;
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "2130706433",
    ] {
        let url = format!("http://{host}:{port}/length");
        let why = ask(&question(queue(&url, None), None)).await.unwrap_err();
        assert!(matches!(why, NotKnown::NotPublic), "{host}: {why}");
    }
    let app = "shop".parse().unwrap();
    let named = |url: &str| named(&Url::parse(url).unwrap(), &app);
    assert_eq!(named("http://web.other.internal/"), None);
    assert_eq!(named("http://metadata.google.internal/"), None);
    let network = "10.64.0.0/11".parse().ok();
    assert!(is_pods([10, 64, 3, 4].into(), network));
    for forged in [[169, 254, 169, 254], [127, 0, 0, 1], [10, 0, 0, 1]] {
        assert!(!is_pods(forged.into(), network), "{forged:?}");
    }
}

#[test]
fn an_answer_counts_for_a_while_and_then_says_why_there_is_none() {
    let lengths = Lengths::default();
    let (app, worker) = (AppId::from_u128(1), "worker".parse().unwrap());
    let start = Instant::now();
    let at = |secs| start + Duration::from_secs(secs);
    assert!(matches!(
        lengths.of(app, &worker, at(0)),
        Waiting::Unknown(_)
    ));
    let key = || (app, ProcessType::clone(&worker));
    lengths.note(key(), Ok(5.0), at(0));
    lengths.note(key(), Err(NotKnown::Slow), at(8));
    assert_eq!(lengths.of(app, &worker, at(FRESH_SECS)), Waiting::Jobs(5.0));
    let why = Waiting::Unknown("it did not answer within 5 s".into());
    assert_eq!(lengths.of(app, &worker, at(FRESH_SECS + 1)), why);
}
