//! Opening a session with a pod, and how an agent hears of one.

use std::time::Duration;

use reqwest::Method;

use super::{Client, ClientError, platform::segment};
use crate::{
    names::{AppName, NodeName},
    nodes::LONG_POLL_SECS,
    sessions::{NewSession, Session, SessionOrder},
};

impl Client {
    /// Asks for a session with a pod, by the pod's id or name; dial its `url` with
    /// [`Client::attach`].
    pub async fn open_session(
        &self,
        app: &AppName,
        dyno: &str,
        session: &NewSession,
    ) -> Result<Session, ClientError> {
        let path = format!("/apps/{app}/dynos/{}/sessions", segment(dyno));
        self.call(Method::POST, &path, session).await
    }

    /// Waits for sessions that a node is to answer; none when there were none for
    /// [`LONG_POLL_SECS`].
    pub async fn node_sessions(&self, node: &NodeName) -> Result<Vec<SessionOrder>, ClientError> {
        let path = format!("/internal/nodes/{node}/sessions");
        let wait = Duration::from_secs(LONG_POLL_SECS);
        let orders = self.poll(self.request(Method::GET, &path), wait).await?;
        Ok(orders.unwrap_or_default())
    }
}
