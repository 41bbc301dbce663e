//! Turns a growing text of the API into server-sent events, a line each.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::response::sse::{Event, KeepAlive, Sse};
use bytes::Bytes;
use fairway_api::client::ByteStream;
use futures_util::{Stream, StreamExt, stream};

/// A line longer than this is passed on in pieces, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// How often a silent stream says that it lives, in seconds; proxies cut after 30 to 60.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `line` events for each line, then one `end` event. A source that breaks ends without it, and
/// the browser asks again.
pub(crate) fn whole(source: ByteStream) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    events(Lines::new(source, true))
}

/// `line` events for each line. Whenever the source ends, the browser asks again.
pub(crate) fn endless(source: ByteStream) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    events(Lines::new(source, false))
}

fn events(lines: Lines) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = stream::unfold(lines, |mut lines| async move {
        lines.next().await.map(|event| (Ok(event), lines))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

struct Lines {
    source: Option<ByteStream>,
    says_end: bool,
    partial: Vec<u8>,
    ready: VecDeque<String>,
}

impl Lines {
    fn new(source: ByteStream, says_end: bool) -> Self {
        Self {
            source: Some(source),
            says_end,
            partial: Vec::new(),
            ready: VecDeque::new(),
        }
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(event(&line));
            }
            let Some(source) = self.source.as_mut() else {
                let end = Event::default().event("end").data("end");
                return std::mem::take(&mut self.says_end).then_some(end);
            };
            match source.next().await {
                Some(Ok(chunk)) => self.take(&chunk),
                Some(Err(error)) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "a stream of the API broke"
                    );
                    return None;
                }
                None => {
                    self.source = None;
                    if !self.partial.is_empty() {
                        self.finish_line();
                    }
                }
            }
        }
    }

    fn take(&mut self, chunk: &Bytes) {
        for &byte in chunk {
            if byte == b'\n' || self.partial.len() >= LINE_BYTES_MAX {
                self.finish_line();
            }
            if byte != b'\n' {
                self.partial.push(byte);
            }
        }
    }

    fn finish_line(&mut self) {
        let line = String::from_utf8_lossy(&self.partial).into_owned();
        self.ready.push_back(line);
        self.partial.clear();
    }
}

fn event(line: &str) -> Event {
    // A carriage return would end the event early, and an event without data is dropped.
    let text = line.replace('\r', "");
    let text = if text.is_empty() { " " } else { &text };
    Event::default().event("line").data(text)
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use bytes::Bytes;
    use http_body_util::BodyExt;

    use super::{ByteStream, StreamExt, endless, stream, whole};

    fn source(chunks: &'static [&'static str]) -> ByteStream {
        stream::iter(chunks.iter().map(|text| Ok(Bytes::from(*text)))).boxed()
    }

    async fn body(response: impl IntoResponse) -> String {
        let body = response.into_response().into_body();
        let bytes = body.collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn each_line_is_an_event_however_it_was_cut() {
        let text = body(whole(source(&["-----> a", "b\n\n  tw", "o\r\nrest"]))).await;
        let expected = "event: line\ndata: -----> ab\n\nevent: line\ndata:  \n\n\
                        event: line\ndata:   two\n\nevent: line\ndata: rest\n\n\
                        event: end\ndata: end\n\n";
        assert_eq!(text, expected);
    }

    #[tokio::test]
    async fn a_log_never_says_that_it_ended() {
        let text = body(endless(source(&["one\n"]))).await;
        assert_eq!(text, "event: line\ndata: one\n\n");
    }
}
