//! Hostnames claimed by apps (Platform API: `domain`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{apps::AppRef, ids::DomainId, names::Hostname};

/// The most domains one app may claim; each costs an entry in every router's table.
pub const DOMAINS_PER_APP_MAX: u32 = 1_000;

/// `GET /apps/{app}/domains`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    pub id: DomainId,
    pub app: AppRef,
    pub hostname: Hostname,
    pub kind: DomainKind,
    /// What the owner of a custom domain points its DNS at; null for the built-in one.
    pub cname: Option<String>,
    pub status: String,
    pub acm_status: Option<String>,
    pub acm_status_reason: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Where a hostname comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DomainKind {
    /// `APP.BASE`; comes and goes with the app.
    #[serde(rename = "heroku")]
    BuiltIn,
    /// Added by a user.
    #[serde(rename = "custom")]
    Custom,
}

/// `POST /apps/{app}/domains`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewDomain {
    pub hostname: Hostname,
}
