//! What can be switched on for an app (Platform API: `app-feature`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::FeatureId;

/// Requests of one client go to the same pod, as long as it is there. Named as on Heroku.
pub const SESSION_AFFINITY: &str = "http-session-affinity";

/// `GET /apps/{app}/features`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    pub id: FeatureId,
    pub name: String,
    pub display_name: String,
    pub description: String,
    pub doc_url: String,
    pub feedback_email: String,
    /// `general`.
    pub state: String,
    pub enabled: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// `PATCH /apps/{app}/features/{feature}`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct FeaturePatch {
    pub enabled: bool,
}
