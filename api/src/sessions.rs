//! Sessions: a person's way into a pod that runs. One mechanism for a command, for connections to
//! a port and for copying.
//!
//! ```text
//! person --POST sessions--> controller            a grant: who, which pod, what for
//! person --WebSocket------> controller            one per command, copy or connection
//! agent  --long poll------> controller            hears of it at once (SessionOrder)
//! agent  --WebSocket------> controller            the pod's end; frames pass as for `app run`
//! ```
//! Agents only ever dial out, so this works for a machine behind NAT.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{AttachId, PodId};

/// The most bytes of all words of a command together.
pub const SESSION_COMMAND_BYTES_MAX: usize = 32 * 1024;
/// The most bytes of a path to copy from or to (Linux's `PATH_MAX`).
pub const SESSION_PATH_BYTES_MAX: usize = 4096;
/// The most ports that one session forwards to.
pub const FORWARD_PORTS_MAX: usize = 16;
/// Seconds without a byte either way after which a command, copy or connection is ended.
pub const SESSION_IDLE_SECS_MAX: u64 = 60 * 60;
/// What a process of a session finds in its environment, so that one that is left behind can be
/// told from what people start beside Fairway.
pub const SESSION_VARIABLE: &str = "FAIRWAY_SESSION";

/// `POST /apps/{app}/dynos/{dyno}/sessions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSession {
    #[serde(flatten)]
    pub purpose: SessionPurpose,
    /// Which container of the pod; without it the main one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// What a session is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SessionPurpose {
    /// A command beside the pod's own process.
    Exec {
        /// Program and arguments, as they are; empty for a shell (bash where there is one).
        #[serde(default)]
        command: Vec<String>,
        #[serde(default)]
        tty: bool,
        /// The kind of terminal (`TERM`).
        #[serde(default)]
        term: Option<String>,
    },
    /// Connections to ports of the pod, as many as are dialled.
    Forward { ports: Vec<u16> },
    /// A tar archive of a file or folder, sent to the caller.
    CopyFrom { path: String },
    /// A tar archive from the caller, unpacked in the pod.
    CopyTo { path: String },
}

/// A session that may be opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub id: AttachId,
    pub dyno: SessionPod,
    /// The WebSocket to dial. For a forwarded connection `&port=PORT` is added; a forwarding
    /// session dialled without a port carries nothing, and ends with the reason when the pod does.
    pub url: String,
    /// Until when the first WebSocket must have been dialled.
    pub expires_at: DateTime<Utc>,
}

/// The pod of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionPod {
    pub id: PodId,
    pub name: String,
}

/// What an agent is to answer, by dialling `/internal/attach/{id}`.
///
/// `GET /internal/nodes/{node}/sessions` answers 200 with those that wait, at once when there are
/// some, or 204 after [`crate::nodes::LONG_POLL_SECS`]. One that was not answered is told again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOrder {
    pub id: AttachId,
    pub pod: PodId,
    /// For messages; the id decides.
    pub pod_name: String,
    #[serde(default)]
    pub container: Option<String>,
    pub work: SessionWork,
}

/// What the pod's end does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SessionWork {
    Exec {
        /// Program and arguments, never empty.
        command: Vec<String>,
        tty: bool,
        /// Added to the container's own.
        env: BTreeMap<String, String>,
    },
    /// One connection to a port of the pod.
    Connect { port: u16 },
    /// Nothing, until the pod ends.
    Watch,
}
