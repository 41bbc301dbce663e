use std::{sync::Arc, time::Duration};

use fairway_api::{
    ids::{AppId, PodId},
    logs::LOG_LINE_BYTES_MAX,
};
use http::{HeaderValue, Method};
use tokio::sync::Notify;

use crate::traffic::Meters;

use super::{AccessLog, End, QUEUE_LINES_MAX, Record, fill};
use crate::{drain::Load, failure::Failure, table::Endpoint};

fn record(log: &Arc<AccessLog>, path: &str) -> Record {
    Record {
        log: log.clone(),
        app: AppId::from_u128(1),
        method: Method::GET,
        uri: path.parse().unwrap(),
        host: HeaderValue::from_static("shop.localhost"),
        request_id: HeaderValue::from_static("req-1"),
        forwarded_for: HeaderValue::from_static("9.9.9.9, 1.2.3.4"),
        scheme: "http",
        started: std::time::Instant::now(),
        endpoint: None,
        connect: Duration::from_millis(1),
        status: 0,
        bytes: 0,
        end: End::Open,
        open: Meters::new()
            .of(AppId::from_u128(1))
            .begin(std::time::Instant::now()),
    }
}

fn pod() -> Arc<Endpoint> {
    Arc::new(Endpoint {
        pod: PodId::from_u128(1),
        name: "web.1".into(),
        address: "127.0.0.1:80".parse().unwrap(),
        load: Arc::new(Load::new(Arc::new(Notify::new()))),
        affinity: None,
        counts: None,
    })
}

/// The one line of a record, with the measured time taken out.
fn line(path: &str, change: impl FnOnce(&mut Record)) -> String {
    let (log, mut lines) = AccessLog::new();
    let log = Arc::new(log);
    let mut record = record(&log, path);
    change(&mut record);
    drop(record);
    let line = lines.try_recv().unwrap().into_log_line();
    assert!(lines.try_recv().is_err(), "one line for each request");
    assert_eq!(line.process, "router");
    let (before, after) = line.text.split_once("service=").unwrap();
    format!("{before}{}", after.split_once(' ').unwrap().1)
}

#[test]
fn lines_read_like_herokus() {
    let complete = line("/x?token=secret", |record| {
        record.endpoint = Some(pod());
        (record.status, record.bytes, record.end) = (200, 123, End::Complete);
    });
    assert_eq!(
        complete,
        "at=info method=GET path=\"/x\" host=shop.localhost request_id=req-1 \
         fwd=\"9.9.9.9,1.2.3.4\" dyno=web.1 connect=1ms status=200 bytes=123 protocol=http"
    );
    let failed = line("/", |record| {
        (record.status, record.bytes, record.end) = (503, 9, End::Failed(Failure::NoPods));
    });
    assert_eq!(
        failed,
        "at=error code=no-pods desc=\"No web process is ready\" method=GET path=\"/\" \
         host=shop.localhost request_id=req-1 fwd=\"9.9.9.9,1.2.3.4\" dyno= connect=1ms \
         status=503 bytes=9 protocol=http"
    );
}

#[test]
fn a_record_that_is_dropped_blames_the_client_unless_the_router_stops() {
    assert!(line("/", |_| {}).contains("code=client-gone"));
    assert!(line("/", |_| {}).contains(" status=499 "));
    assert!(line("/", |record| record.status = 200).contains(" status=200 "));
    assert!(line("/", |record| record.log.stop()).contains("code=shutdown"));
}

#[test]
fn what_clients_send_cannot_end_the_field_or_fill_the_log() {
    let text = line("/", |record| {
        record.host = HeaderValue::from_bytes(b"a b\"c\xff").unwrap();
        record.uri = format!("/{}", "a".repeat(60_000)).parse().unwrap();
        record.forwarded_for = HeaderValue::from_str(&"1".repeat(60_000)).unwrap();
    });
    assert!(text.contains("host=a%20b%22c%FF request_id"), "{text}");
    assert!(text.contains("a...\" host"), "{text}");
    assert!(text.len() < LOG_LINE_BYTES_MAX / 2, "{}", text.len());
}

#[test]
fn a_full_queue_drops_lines_and_says_how_many() {
    let (log, mut lines) = AccessLog::new();
    let log = Arc::new(log);
    for _ in 0..QUEUE_LINES_MAX + 5 {
        drop(record(&log, "/"));
    }
    assert_eq!(lines.len(), QUEUE_LINES_MAX);
    let mut sent = Vec::new();
    loop {
        let mut batch = Vec::new();
        fill(&mut batch, &mut lines, &log);
        if batch.is_empty() {
            break;
        }
        sent.extend(batch);
    }
    assert_eq!(sent.len(), QUEUE_LINES_MAX + 1);
    let told: Vec<_> = sent
        .iter()
        .filter(|line| line.text.contains("lines-dropped"))
        .collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].text.ends_with("lines=5"), "{}", told[0].text);
}
