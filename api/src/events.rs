//! The append-only record of who did what, when and why. Ours; no Heroku counterpart.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{apps::AppRef, ids::EventId};

/// `GET /apps/{app}/events`, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub id: EventId,
    pub app: Option<AppRef>,
    /// Who: an account's email, or `platform`.
    pub actor: String,
    /// What, as `noun.verb`: `release.created`, `pod.crashed`, `deployment.failed`.
    pub kind: String,
    /// One sentence for people. Never a secret value.
    pub message: String,
    pub created_at: DateTime<Utc>,
}
