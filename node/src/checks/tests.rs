use std::net::Ipv4Addr;

use fairway_api::checks::{Check, Statuses};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

/// A server that gives each connection the same bytes, and a target that is this process.
async fn serving(answer: &'static [u8]) -> Target {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            drop(stream.read(&mut request).await);
            drop(stream.write_all(answer).await);
        }
    });
    Target {
        address: Some(Ipv4Addr::LOCALHOST.into()),
        port: Some(port),
        pid: None,
        started_at: Utc::now(),
        inside: None,
    }
}

fn http(content: Option<&str>) -> Check {
    Check::Http {
        path: "/health".into(),
        port: None,
        content: content.map(Into::into),
        headers: std::collections::BTreeMap::new(),
        expect: Statuses::default(),
        timeout_secs: 1,
    }
}

#[tokio::test]
async fn answers_are_judged_by_status_and_text() {
    let table: [(&'static [u8], Option<&str>, Option<&str>); 7] = [
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            None,
            None,
        ),
        (
            b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n",
            None,
            None,
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nall good",
            Some("good"),
            None,
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad",
            Some("good"),
            Some("answered 200 OK, but without the text \"good\""),
        ),
        (
            b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\n\r\noops",
            None,
            Some("answered 500 Internal Server Error"),
        ),
        (
            b"SSH-2.0-nope\r\n",
            None,
            Some("the connection broke before an answer"),
        ),
        (b"", None, Some("the connection broke before an answer")),
    ];
    for (answer, content, wanted) in table {
        let target = serving(answer).await;
        let result = probe::run(&http(content), &target).await;
        match (result, wanted) {
            (Ok(()), None) => {}
            (Err(failed), Some(wanted)) => {
                let failure = probe::explain(failed, &target).await;
                assert!(failure.why.starts_with(wanted), "{failure} is not {wanted}");
                let port = target.port.unwrap();
                assert_eq!(failure.check, format!("GET /health on port {port}"));
            }
            (result, _) => panic!("{answer:?} gave {result:?}"),
        }
    }
}

#[tokio::test]
async fn a_failing_check_keeps_the_start_of_the_answer_and_no_more() {
    let answer: String = format!(
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\n{}",
        "é".repeat(9999)
    );
    let target = serving(answer.leak().as_bytes()).await;
    let failed = probe::run(&http(None), &target).await.unwrap_err();
    let response = probe::explain(failed, &target).await.response.unwrap();
    assert!(response.starts_with("éé"));
    assert!(response.len() <= fairway_api::checks::CHECK_RESPONSE_BYTES_MAX);
}

#[tokio::test]
async fn a_silent_server_fails_at_the_time_limit() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let target = Target {
        address: Some(Ipv4Addr::LOCALHOST.into()),
        port: Some(listener.local_addr().unwrap().port()),
        pid: None,
        started_at: Utc::now(),
        inside: None,
    };
    let failed = probe::run(&http(None), &target).await.unwrap_err();
    assert_eq!(
        probe::explain(failed, &target).await.why,
        "no answer within 1 seconds"
    );
}

#[tokio::test]
async fn a_refused_connection_names_the_port_that_is_open_instead() {
    let (mut closed, open) = (serving(b"").await, serving(b"").await);
    let gone = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    closed.port = Some(gone.local_addr().unwrap().port());
    drop(gone);
    closed.pid = Some(std::process::id().into());
    let check = Check::Tcp {
        port: None,
        timeout_secs: 1,
    };
    let failed = probe::run(&check, &closed).await.unwrap_err();
    let failure = probe::explain(failed, &closed).await;
    let (wanted, there) = (closed.port.unwrap(), open.port.unwrap());
    assert!(
        failure
            .why
            .starts_with(&format!("nothing listens on port {wanted} (PORT)")),
        "{failure}"
    );
    assert!(
        failure.why.contains("the process listens on port"),
        "{failure} does not name {there}"
    );
}

#[tokio::test]
async fn the_startup_check_ends_at_its_deadline() {
    let mut target = serving(b"").await;
    target.port = Some(1);
    let checks = Checks {
        startup: Check::Tcp {
            port: None,
            timeout_secs: 5,
        },
        startup_deadline_secs: 1,
        startup_delay_secs: 0,
        readiness: None,
        liveness: None,
    };
    let (results, mut received) = mpsc::channel(RESULTS_MAX);
    startup(PodId::generate(), checks, target, results).await;
    let Some(Seen::StartupMissed(failure)) = received.recv().await else {
        panic!("no verdict")
    };
    assert_eq!(
        failure.to_string(),
        "connection to port 1: connection refused"
    );
}

#[test]
fn a_young_pod_is_asked_often_and_an_old_one_seldom() {
    for (age_millis, pause_millis) in [(0, 5), (100, 5), (400, 20), (10_000, 500), (60_000, 2_000)]
    {
        let pause = pace(&http(None), Duration::from_millis(age_millis));
        assert_eq!(pause, Duration::from_millis(pause_millis), "{age_millis}");
    }
}
