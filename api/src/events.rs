//! The append-only record of who did what, when and why. Ours; no Heroku counterpart.

mod cause;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use self::cause::{CAUSE_TYPES, Cause, NodeReason, PreemptedBy};
use crate::{apps::AppRef, ids::EventId};

/// `GET /apps/{app}/events`: what was seen last first. What repeats is one event with a count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub id: EventId,
    /// Grows with each event and each repeat; whoever follows asks for what comes after one.
    #[serde(default)]
    pub position: u64,
    pub app: Option<AppRef>,
    /// Who: an account's email, or `platform`.
    pub actor: String,
    /// What, as `noun.verb`: `release.created`, `pod.crashed`, `deployment.failed`.
    pub kind: String,
    /// One sentence for people. Never a secret value.
    pub message: String,
    /// The pod that it happened to, by name: `web.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Why, for programs; only of what happened to pods and machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Heroku's code for the same, where it has one: `R15`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// How often it was seen, at least 1. Message and cause are those of the last time.
    #[serde(default = "once")]
    pub count: u32,
    /// When it was seen first.
    pub created_at: DateTime<Utc>,
    /// When it was seen last; `created_at` from a controller that does not count.
    #[serde(default)]
    pub updated_at: DateTime<Utc>,
}

fn once() -> u32 {
    1
}

/// Which events to show; everything without a word about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFilter {
    /// Types of causes (`out-of-memory`) and kinds of events (`pod.crashed`), separated by commas.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub types: Option<String>,
    /// A pod (`web.1`) or a process type (`web`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
}

/// The longest [`EventFilter`], in characters of each of its parts.
pub const EVENT_FILTER_CHARS_MAX: usize = 256;

/// A filter that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no {1}; use letters, digits, dots and dashes")]
pub struct InvalidFilter(String, &'static str);

impl EventFilter {
    /// Checks that each part has only characters that names have.
    ///
    /// # Errors
    /// Says which part has others, or is too long.
    pub fn check(&self) -> Result<(), InvalidFilter> {
        let plain = |it: &char| it.is_ascii_alphanumeric() || matches!(it, '.' | '-');
        if let Some(process) = &self.process
            && (process.len() > EVENT_FILTER_CHARS_MAX || !process.chars().all(|it| plain(&it)))
        {
            return Err(InvalidFilter(process.clone(), "process"));
        }
        if let Some(types) = &self.types
            && (types.len() > EVENT_FILTER_CHARS_MAX
                || !types.chars().all(|it| plain(&it) || it == ','))
        {
            return Err(InvalidFilter(types.clone(), "type of event"));
        }
        Ok(())
    }

    /// Whether it shows an event.
    pub fn shows(&self, event: &Event) -> bool {
        let types = self.types.as_deref().filter(|types| !types.is_empty());
        let of_type = types.is_none_or(|types| {
            let cause = event.cause.as_ref().map(Cause::type_name);
            let mut types = types.split(',');
            types.any(|it| it == event.kind || Some(it) == cause)
        });
        let process = self.process.as_deref().filter(|it| !it.is_empty());
        let of_process = process.is_none_or(|process| {
            let pod = event.pod.as_deref().unwrap_or_default();
            let rest = pod.strip_prefix(process);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        of_type && of_process
    }
}

#[cfg(test)]
mod tests;
