//! Wanted count and size per process type (Platform API: `formation`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    apps::AppRef,
    ids::FormationId,
    names::{ProcessType, SizeName},
};

/// The most pods of one process type.
pub const QUANTITY_MAX: u32 = 1_000;

/// `GET /apps/{app}/formation`: one process type. It outlives releases; scaling is no deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formation {
    pub id: FormationId,
    pub app: AppRef,
    #[serde(rename = "type")]
    pub process_type: ProcessType,
    pub command: String,
    pub quantity: u32,
    pub size: SizeName,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// `PATCH /apps/{app}/formation`: all updates take effect together or none does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FormationBatch {
    pub updates: Vec<FormationUpdate>,
}

/// One process type's new count, size, or both.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FormationUpdate {
    #[serde(rename = "type")]
    pub process_type: ProcessType,
    pub quantity: Option<u32>,
    pub size: Option<SizeName>,
}

/// `PATCH /apps/{app}/formation/{type}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FormationPatch {
    pub quantity: Option<u32>,
    pub size: Option<SizeName>,
}
