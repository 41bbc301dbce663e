//! Turns a growing text of the API into server-sent events, a line each.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::response::sse::{Event, KeepAlive, Sse};
use bytes::Bytes;
use fairway_api::client::{ByteStream, ClientError};
use futures_util::{Stream, StreamExt, stream};

/// A line longer than this is passed on in pieces, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// How often a silent stream says that it lives, in seconds; proxies cut after 30 to 60.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// `line` events for each line, then one `end` event.
pub(crate) fn lines(source: ByteStream) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let state = Lines {
        source: Some(source),
        partial: Vec::new(),
        ready: VecDeque::new(),
    };
    let events = stream::unfold(state, |mut state| async move {
        state.next().await.map(|event| (Ok(event), state))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

struct Lines {
    source: Option<ByteStream>,
    partial: Vec<u8>,
    ready: VecDeque<String>,
}

impl Lines {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                // A carriage return would end the event early.
                return Some(Event::default().event("line").data(line.replace('\r', "")));
            }
            match self.source.as_mut()?.next().await {
                Some(chunk) => self.take(chunk),
                None => {
                    self.source = None;
                    let rest = std::mem::take(&mut self.partial);
                    if rest.is_empty() {
                        return Some(Event::default().event("end").data("end"));
                    }
                    return Some(Event::default().event("line").data(text(&rest)));
                }
            }
        }
    }

    fn take(&mut self, chunk: Result<Bytes, ClientError>) {
        let Ok(chunk) = chunk else {
            self.ready
                .push_back(" !     The stream broke; reload the page.".into());
            return;
        };
        for byte in chunk {
            if byte == b'\n' || self.partial.len() >= LINE_BYTES_MAX {
                self.ready.push_back(text(&self.partial));
                self.partial.clear();
            }
            if byte != b'\n' {
                self.partial.push(byte);
            }
        }
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}
