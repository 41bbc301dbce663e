use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use fairway_api::{
    build_orders::BuildLease,
    client::Client,
    error::{ApiError, ErrorId},
    ids::BuildId,
    secret::Secret,
};
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::{Output, clip::Clip, redact::Redactor};

/// A controller that takes output and answers from a script, then with success.
#[derive(Clone, Default)]
struct Controller {
    taken: Arc<Mutex<Vec<Bytes>>>,
    script: Arc<Mutex<Vec<Answer>>>,
}

#[derive(Clone, Copy)]
enum Answer {
    Cancelled,
    Error(ErrorId),
}

async fn append(State(controller): State<Controller>, output: Bytes) -> Response {
    let next = controller.script.lock().unwrap().pop();
    let lease = match next {
        Some(Answer::Error(id)) => {
            let status = StatusCode::from_u16(id.status()).unwrap();
            return (status, Json(ApiError::new(id, "no"))).into_response();
        }
        Some(Answer::Cancelled) => BuildLease { cancelled: true },
        None => BuildLease { cancelled: false },
    };
    controller.taken.lock().unwrap().push(output);
    // Time for more to pile up.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    Json(lease).into_response()
}

impl Controller {
    async fn start(script: &[Answer]) -> (Self, Client) {
        let controller = Self::default();
        *controller.script.lock().unwrap() = script.to_vec();
        let router = Router::new()
            .route("/internal/builds/{id}/output", post(append))
            .with_state(controller.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (controller, Client::new(base.parse().unwrap(), None))
    }

    fn text(&self) -> String {
        String::from_utf8(self.taken.lock().unwrap().concat()).unwrap()
    }
}

#[tokio::test]
async fn all_is_sent_in_order_and_in_few_calls() {
    let again = [
        Answer::Error(ErrorId::Unavailable),
        Answer::Error(ErrorId::InternalServerError),
    ];
    let (controller, client) = Controller::start(&again).await;
    let cancel = CancellationToken::new();
    let secrets = [Secret::new("hunter2-hunter2")];
    let (output, pump) = Output::start(client, BuildId::from_u128(1), &secrets, cancel.clone());
    let mut expected = String::new();
    for number in 0..2_000 {
        output.detail(format!("line {number}"));
        expected.push_str(&format!("       line {number}\n"));
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    output.raw(b"the end is hunter2-");
    pump.finish().await;
    output.detail("too late");
    assert_eq!(controller.text(), format!("{expected}the end is hunter2-"));
    assert!(
        controller.taken.lock().unwrap().len() < 100,
        "a call per line"
    );
    assert!(!cancel.is_cancelled());
}

#[tokio::test]
async fn a_build_that_is_not_ours_any_more_is_cancelled() {
    let gone = [ErrorId::NotFound, ErrorId::Conflict, ErrorId::Forbidden].map(Answer::Error);
    for answer in gone.into_iter().chain([Answer::Cancelled]) {
        let (_, client) = Controller::start(&[answer]).await;
        let cancel = CancellationToken::new();
        let (output, pump) = Output::start(client, BuildId::from_u128(1), &[], cancel.clone());
        output.header("Building");
        cancel.cancelled().await;
        output.header("Still building");
        pump.finish().await;
    }
}

fn redactor(secrets: &[&str]) -> Redactor {
    Redactor::new(&secrets.iter().map(|s| Secret::new(*s)).collect::<Vec<_>>())
}

fn redacted(secrets: &[&str], chunks: &[&str]) -> String {
    let mut redactor = redactor(secrets);
    let mut text = Vec::new();
    for chunk in chunks {
        text.extend(redactor.push(chunk.as_bytes()));
    }
    text.extend(redactor.finish());
    String::from_utf8(text).unwrap()
}

#[test]
fn lines_follow_the_grammar() {
    let output = Output::kept(&[]);
    output.header("Building on one");
    output.detail("two\nthree");
    output.raw(b"half a line");
    output.error("four\r\n\nfive");
    assert_eq!(
        output.text(),
        "-----> Building on one\n       two\n       three\nhalf a line\n !     four\n !\n !     five\n"
    );
}

#[test]
fn secrets_are_blacked_out_wherever_they_stand() {
    let secrets = [
        "hunter2-hunter2",
        "hunter2-",
        "-----BEGIN KEY-----\nQUJDREVGRw\n----",
    ];
    for (chunks, expected) in [
        (vec!["plain"], "plain"),
        (vec!["a hunter2-hunter2 b"], "a [redacted] b"),
        (vec!["a hunt", "er2-hunter2 b"], "a [redacted] b"),
        (vec!["h", "u", "n", "t", "e", "r", "2", "-"], "[redacted]"),
        (vec!["hunter2-hunter"], "[redacted]hunter"),
        (vec!["hunter2-hunter", "3"], "[redacted]hunter3"),
        (vec!["hunt", "ing"], "hunting"),
        (vec!["hunt"], "hunt"),
        (vec!["    QUJDREVGRw\n"], "    [redacted]\n"),
        (
            vec!["hunter2-hunter2hunter2-hunter2"],
            "[redacted][redacted]",
        ),
    ] {
        assert_eq!(redacted(&secrets, &chunks), expected, "{chunks:?}");
    }
}

#[test]
fn what_cannot_be_a_secret_is_shown_at_once() {
    let mut redactor = redactor(&["hunter2-hunter2"]);
    assert_eq!(redactor.push(b"Password: "), b"Password: ");
    assert_eq!(redactor.push(b"hunter"), b"");
    assert_eq!(redactor.push(b"s"), b"hunters");
}

proptest! {
    /// However the stream is cut, the result is that of the whole.
    #[test]
    fn cuts_make_no_difference(text in "[ab]{0,60}", cuts in prop::collection::vec(0usize..60, 0..8)) {
        let secrets = ["abab", "ababab", "bbba", "a"];
        let whole = redacted(&secrets, &[&text]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&str> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
        prop_assert_eq!(redacted(&secrets, &chunks), whole);
    }

    /// The clip never lets more through than its limit, and keeps beginning and end.
    #[test]
    fn clip_keeps_its_limit(sizes in prop::collection::vec(0usize..400_000, 0..12)) {
        let limit = 1024 * 1024;
        let mut clip = Clip::new(limit);
        let (mut all, mut out) = (Vec::new(), Vec::new());
        for (index, size) in sizes.into_iter().enumerate() {
            let chunk: Vec<u8> = (0..size).map(|at| (at * 31 + index * 7) as u8).collect();
            all.extend_from_slice(&chunk);
            clip.push(&chunk, &mut out);
        }
        clip.finish(&mut out);
        prop_assert!(out.len() as u64 <= limit);
        if all.len() as u64 > limit {
            prop_assert!(out.ends_with(&all[all.len() - 128 * 1024..]));
        }
        prop_assert!(out.starts_with(&all[..all.len().min(64 * 1024)]));
        if (all.len() as u64) < limit - 300_000 {
            prop_assert_eq!(out, all);
        }
    }
}
