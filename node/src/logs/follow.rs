//! Reads one container's output into the queue until the container has ended and all is read.

use std::{sync::Arc, time::Duration};

use fairway_api::logs::{LOG_LINE_BYTES_MAX, LogLine, LogSource};
use futures_util::StreamExt as _;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    LogQueue, Queued, Writer,
    places::{Place, Places, Reader},
};
use crate::engine::{Engine, EngineError, Inspected, Piece};

/// Pause before reading again when the engine broke off, in milliseconds.
const AGAIN_MILLIS: u64 = 500;
/// How long a container that is to be removed may wait until its log is taken, in seconds.
const DRAIN_SECS: u64 = 30;

/// A container whose log is being read.
#[derive(Debug)]
pub(crate) struct Follower {
    container: Arc<str>,
    task: JoinHandle<()>,
    give_up: CancellationToken,
}

impl Follower {
    /// Whether it is at work on this container.
    pub(crate) fn reads(&self, container: &str) -> bool {
        *self.container == *container && !self.task.is_finished()
    }

    /// Waits until the dead container's log is in the queue; what does not fit there in time is
    /// counted and dropped.
    pub(crate) async fn drain(mut self) {
        if timeout(Duration::from_secs(DRAIN_SECS), &mut self.task)
            .await
            .is_err()
        {
            self.give_up.cancel();
            if timeout(Duration::from_secs(DRAIN_SECS), &mut self.task)
                .await
                .is_err()
            {
                self.task.abort();
            }
        }
    }
}

/// Begins to read after the place that was delivered last.
pub(crate) fn follow(
    engine: Arc<Engine>,
    container: &str,
    writer: Writer,
    queue: LogQueue,
    places: &Places,
    shutdown: CancellationToken,
) -> Follower {
    let give_up = CancellationToken::new();
    let reader = Reader::after(places.of(container));
    let container: Arc<str> = container.into();
    let following = Following {
        engine,
        container: container.clone(),
        writer,
        queue,
        reader,
        give_up: give_up.clone(),
        dropped: 0,
    };
    let task = tokio::spawn(async move {
        shutdown.run_until_cancelled(following.run()).await;
    });
    Follower {
        container,
        task,
        give_up,
    }
}

struct Following {
    engine: Arc<Engine>,
    container: Arc<str>,
    writer: Writer,
    queue: LogQueue,
    reader: Reader,
    give_up: CancellationToken,
    dropped: u64,
}

impl Following {
    async fn run(mut self) {
        loop {
            // The engine ends the stream when the container ends, or breaks it when it goes away.
            let followed = self.read(true).await;
            match self.engine.inspect(&self.container).await {
                Ok(Inspected::Dead { .. }) => break,
                Ok(Inspected::Missing) => return self.settle(),
                Ok(Inspected::Running { .. }) | Err(_) => {}
            }
            if let Err(error) = followed {
                tracing::debug!(container = %self.container, "log broke off: {error}");
            }
            tokio::time::sleep(Duration::from_millis(AGAIN_MILLIS)).await;
        }
        // Some engines end a followed log a moment before its last lines are in the file.
        if let Err(error) = self.read(false).await {
            tracing::warn!(container = %self.container, "the end of a log is missing: {error}");
        }
        self.settle();
    }

    async fn read(&mut self, follow: bool) -> Result<(), EngineError> {
        let engine = self.engine.clone();
        let since = self.reader.reached().since();
        self.reader = Reader::after(self.reader.reached());
        let mut pieces = engine.log(&self.container, since, follow).await?;
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            if self.reader.pass(&piece) {
                self.hand_over(piece).await;
            }
        }
        Ok(())
    }

    async fn hand_over(&mut self, piece: Piece) {
        let place = Place {
            container: self.container.clone(),
            position: self.reader.reached(),
        };
        for line in lines(&self.writer, piece) {
            let queued = Queued {
                line,
                place: place.clone(),
            };
            tokio::select! {
                biased;
                _ = self.queue.lines.send(queued) => {}
                () = self.give_up.cancelled() => self.dropped += 1,
            }
        }
    }

    fn settle(&self) {
        if self.dropped > 0 {
            let text = format!(
                "{} log lines were dropped: the controller did not take them in time",
                self.dropped
            );
            self.queue.say(&self.writer, text);
        }
    }
}

/// A piece as lines: one, unless bytes that are no text made it longer than a line may be.
fn lines(writer: &Writer, piece: Piece) -> Vec<LogLine> {
    let line = |text| writer.line(piece.at, LogSource::App, text);
    let mut rest = piece.text.as_str();
    let mut lines = Vec::new();
    while rest.len() > LOG_LINE_BYTES_MAX {
        let (start, end) = rest.split_at(rest.floor_char_boundary(LOG_LINE_BYTES_MAX));
        lines.push(line(start.to_owned()));
        rest = end;
    }
    lines.push(line(rest.to_owned()));
    lines
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use fairway_api::ids::{AppId, PodId};

    use super::*;

    #[test]
    fn a_long_piece_is_cut_between_characters() {
        let writer = Writer {
            app: AppId::from_u128(1),
            pod: PodId::from_u128(2),
            process: "web.1".into(),
        };
        let piece = |text: String| Piece {
            error_output: false,
            at: DateTime::UNIX_EPOCH,
            text,
        };
        assert_eq!(lines(&writer, piece(String::new())).len(), 1);
        let long = "\u{fffd}".repeat(LOG_LINE_BYTES_MAX);
        let cut = lines(&writer, piece(long.clone()));
        assert!(cut.iter().all(|line| line.text.len() <= LOG_LINE_BYTES_MAX));
        assert_eq!(
            cut.iter()
                .map(|line| line.text.as_str())
                .collect::<String>(),
            long
        );
    }
}
