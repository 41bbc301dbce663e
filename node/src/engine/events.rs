//! The engine's events: what tells the agent of a death within milliseconds, without polling.

use std::collections::HashMap;

use bollard::{models::EventMessage, query_parameters::EventsOptions};
use chrono::{DateTime, Utc};
use fairway_api::ids::PodId;
use futures_util::{Stream, StreamExt as _};

use super::{Engine, EngineError};
use crate::container::{LABEL_INSTANCE, LABEL_POD, LABEL_SANDBOX};

/// Something that happened to a container of this instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// `None` for a sandbox.
    pub(crate) pod: Option<PodId>,
    pub(crate) container: String,
    pub(crate) kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventKind {
    Died { code: i64 },
    OutOfMemory,
}

impl Engine {
    /// Deaths and memory kills from `since` on; the engine replays those of the recent past.
    pub(crate) async fn events(
        &self,
        since: DateTime<Utc>,
    ) -> Result<impl Stream<Item = Result<Event, EngineError>> + '_, EngineError> {
        let list = |values: &[&str]| values.iter().map(|&v| v.to_owned()).collect::<Vec<_>>();
        let ours = vec![format!("{LABEL_INSTANCE}={}", self.instance)];
        let filters = HashMap::from([
            ("type".to_owned(), list(&["container"])),
            ("event".to_owned(), list(&["die", "oom"])),
            ("label".to_owned(), ours),
        ]);
        let options = EventsOptions {
            since: Some(since.timestamp().to_string()),
            filters: Some(filters),
            ..EventsOptions::default()
        };
        let stream = self.docker().await?.events(Some(options));
        Ok(stream.filter_map(async |message| match message {
            Ok(message) => event(message).map(Ok),
            Err(error) => Some(Err(self.failed("send its events")(error))),
        }))
    }
}

fn event(message: EventMessage) -> Option<Event> {
    let actor = message.actor?;
    let attributes = actor.attributes?;
    let kind = match message.action?.as_str() {
        "die" => {
            let code = attributes
                .get("exitCode")
                .and_then(|code| code.parse().ok());
            EventKind::Died {
                code: code.unwrap_or_default(),
            }
        }
        "oom" => EventKind::OutOfMemory,
        _ => return None,
    };
    let pod = match attributes.get(LABEL_POD) {
        Some(pod) => Some(pod.parse().ok()?),
        // A container of another role, or a sandbox.
        None => attributes.get(LABEL_SANDBOX).map(|_| None)?,
    };
    Some(Event {
        pod,
        container: actor.id?,
        kind,
    })
}
