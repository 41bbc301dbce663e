//! Calls about events.

use reqwest::Method;

use super::{Client, ClientError, platform::ByteStream};
use crate::{
    events::{Event, EventFilter},
    names::AppName,
};

impl Client {
    /// What happened to the app, newest first.
    pub async fn events(
        &self,
        app: &AppName,
        filter: &EventFilter,
    ) -> Result<Vec<Event>, ClientError> {
        self.get(&events_path(Some(app), "", filter, None)).await
    }

    /// What happened to all apps and to machines, what was seen last first; for admins.
    pub async fn all_events(&self, filter: &EventFilter) -> Result<Vec<Event>, ClientError> {
        self.get(&events_path(None, "", filter, None)).await
    }

    /// Events of an app, or of all, as they come after a position: a JSON document a line. Without
    /// a position from now on.
    pub async fn follow_events(
        &self,
        app: Option<&AppName>,
        filter: &EventFilter,
        after: Option<u64>,
    ) -> Result<ByteStream, ClientError> {
        let path = events_path(app, "/stream", filter, after);
        let response = self.send(self.request(Method::GET, &path)).await?;
        Ok(self.bytes(response))
    }
}

fn events_path(
    app: Option<&AppName>,
    what: &str,
    filter: &EventFilter,
    after: Option<u64>,
) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    let parts = [("type", &filter.types), ("process", &filter.process)];
    for (name, value) in parts {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    if let Some(after) = after {
        query.append_pair("after", &after.to_string());
    }
    let of_app = app.map(|app| format!("/apps/{app}")).unwrap_or_default();
    match query.finish() {
        query if query.is_empty() => format!("{of_app}/events{what}"),
        query => format!("{of_app}/events{what}?{query}"),
    }
}
