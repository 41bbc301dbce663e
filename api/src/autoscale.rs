//! Autoscaling: what people ask of it ([`Autoscale`]) and what they see of it ([`Autoscaling`]).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

mod queue;
mod window;

pub use self::{
    queue::{InvalidQueue, Queue},
    window::{Days, InvalidWindow, TimeOfDay, Window},
};
use crate::{apps::AppRef, formation::QUANTITY_MAX, names::ProcessType};

/// How long fewer pods must have been enough before some are taken away, in seconds, when nobody
/// says: as long as Kubernetes waits.
pub const DOWN_AFTER_SECS_DEFAULT: u32 = 300;
/// The longest such time, in seconds: what a day has shown is no guess any more.
pub const DOWN_AFTER_SECS_MAX: u32 = 24 * 60 * 60;
/// The largest target that counts requests, in requests or requests per second.
const REQUESTS_MAX: u32 = 1_000_000;
/// The most windows of one policy.
const WINDOWS_MAX: usize = 16;
/// The largest latency that routers can tell from an even larger one, in milliseconds.
const LATENCY_MS_MAX: u32 = 10_000;

/// How many pods of a process type there should be, as far as measurements decide it.
///
/// Every target is a mean per pod, and the one that asks for most pods wins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Autoscale {
    /// The fewest pods. 0 lets a process type without work end altogether; for `web` the router
    /// then holds the next request until a pod is up, others wait until their queue fills.
    pub min: u32,
    /// The most pods.
    pub max: u32,
    /// CPU time, in percent of what the pod's size has; 1 to 100, and so for memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u32>,
    /// Requests per second and pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rps: Option<u32>,
    /// The time that 95 % of all requests should take at most, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<u32>,
    /// Open requests per pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Jobs that wait, per pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// Times with other bounds; of those that hold at a time the first one counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// How long fewer pods must have been enough, in seconds, before some are taken away.
    #[serde(default = "down_after_secs_default")]
    pub down_after_secs: u32,
}

fn down_after_secs_default() -> u32 {
    DOWN_AFTER_SECS_DEFAULT
}

/// Why an [`Autoscale`] cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAutoscale {
    #[error("the release phase runs once per release and cannot be scaled")]
    ReleasePhase,
    #[error("min is {min} and max is {max}: min must not be above max")]
    MinAboveMax { min: u32, max: u32 },
    #[error("max is {0}: it must be from 1 to {QUANTITY_MAX}")]
    Max(u32),
    #[error(
        "nothing says when more than min pods are needed: give a target, such as cpu 70 or \
         concurrency 20, a queue, or windows with other bounds"
    )]
    NoTarget,
    #[error("{what} is {value}: it must be from 1 to {most}")]
    Target {
        what: &'static str,
        value: u32,
        most: u32,
    },
    #[error("{what} counts requests, and only web gets some; take cpu or memory")]
    NoRequests { what: &'static str },
    #[error(
        "min is 0, but nothing would start {0} again: web is woken by requests, others by a queue; \
         give a queue, or take min 1"
    )]
    NeverWoken(ProcessType),
    #[error("{0}")]
    Queue(InvalidQueue),
    #[error("the window {0} changes neither min nor max")]
    EmptyWindow(String),
    #[error("in the window {0} min would be above max")]
    WindowBounds(String),
    #[error("{0:?} is no time zone; write a name such as Europe/Berlin, America/New_York or UTC")]
    Zone(String),
    #[error("there are {0} windows; there may be at most {WINDOWS_MAX}")]
    Windows(usize),
    #[error("down_after_secs is {0}: it must be from 1 to {DOWN_AFTER_SECS_MAX}")]
    DownAfter(u32),
}

impl Autoscale {
    /// Holds every rule against what `process_type` can have.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self, process_type: &ProcessType) -> Result<(), InvalidAutoscale> {
        if process_type.as_str() == "release" {
            return Err(InvalidAutoscale::ReleasePhase);
        }
        if !(1..=QUANTITY_MAX).contains(&self.max) {
            return Err(InvalidAutoscale::Max(self.max));
        }
        if self.min > self.max {
            let (min, max) = (self.min, self.max);
            return Err(InvalidAutoscale::MinAboveMax { min, max });
        }
        for (what, target, most, of_requests) in self.targets() {
            let Some(value) = target else { continue };
            if of_requests && !process_type.is_web() {
                return Err(InvalidAutoscale::NoRequests { what });
            }
            if !(1..=most).contains(&value) {
                return Err(InvalidAutoscale::Target { what, value, most });
            }
        }
        self.check_windows()?;
        if let Some(queue) = &self.queue {
            queue.check().map_err(InvalidAutoscale::Queue)?;
        }
        let one_or_none = self.min == 0 && self.max == 1;
        if !self.has_target() && self.windows.is_empty() && !one_or_none {
            return Err(InvalidAutoscale::NoTarget);
        }
        if self.may_sleep() && !process_type.is_web() && self.queue.is_none() {
            return Err(InvalidAutoscale::NeverWoken(process_type.clone()));
        }
        if !(1..=DOWN_AFTER_SECS_MAX).contains(&self.down_after_secs) {
            return Err(InvalidAutoscale::DownAfter(self.down_after_secs));
        }
        Ok(())
    }

    fn check_windows(&self) -> Result<(), InvalidAutoscale> {
        if self.windows.len() > WINDOWS_MAX {
            return Err(InvalidAutoscale::Windows(self.windows.len()));
        }
        for window in &self.windows {
            let within = self.within(Some(window));
            if window.min.is_none() && window.max.is_none() {
                return Err(InvalidAutoscale::EmptyWindow(window.to_string()));
            }
            if !(1..=QUANTITY_MAX).contains(&within.max) {
                return Err(InvalidAutoscale::Max(within.max));
            }
            if within.min > within.max {
                return Err(InvalidAutoscale::WindowBounds(window.to_string()));
            }
            #[cfg(feature = "schedule")]
            if window.holds(DateTime::UNIX_EPOCH).is_none() {
                let zone = window.zone.chars().take(80).collect();
                return Err(InvalidAutoscale::Zone(zone));
            }
        }
        Ok(())
    }

    /// True if there are times at which there may be no pods.
    pub fn may_sleep(&self) -> bool {
        self.min == 0 || self.windows.iter().any(|it| it.min == Some(0))
    }

    /// The window that holds now.
    #[cfg(feature = "schedule")]
    pub fn window(&self, now: DateTime<Utc>) -> Option<&Window> {
        let mut windows = self.windows.iter();
        windows.find(|window| window.holds(now) == Some(true))
    }

    /// The policy as it is within this window.
    #[must_use]
    pub fn within(&self, window: Option<&Window>) -> Self {
        let of = |bound: fn(&Window) -> Option<u32>| window.and_then(bound);
        Self {
            min: of(|it| it.min).unwrap_or(self.min),
            max: of(|it| it.max).unwrap_or(self.max),
            ..self.clone()
        }
    }

    /// True if it names anything to measure.
    pub fn has_target(&self) -> bool {
        self.queue.is_some()
            || self
                .targets()
                .iter()
                .any(|(_, target, ..)| target.is_some())
    }

    /// Name, value, largest value, and whether it is about requests.
    fn targets(&self) -> [(&'static str, Option<u32>, u32, bool); 5] {
        [
            ("cpu", self.cpu, 100, false),
            ("memory", self.memory, 100, false),
            ("rps", self.rps, REQUESTS_MAX, true),
            ("p95_ms", self.p95_ms, LATENCY_MS_MAX, true),
            ("concurrency", self.concurrency, REQUESTS_MAX, true),
        ]
    }
}

/// `GET /apps/{app}/autoscale`: what is asked for one process type, and what it led to.
/// `PUT /apps/{app}/autoscale/{type}` with an [`Autoscale`] sets it, `DELETE` ends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Autoscaling {
    pub app: AppRef,
    #[serde(rename = "type")]
    pub process_type: ProcessType,
    pub policy: Autoscale,
    /// The count that is set now.
    pub quantity: u32,
    /// `None` until it was looked at for the first time.
    pub last: Option<LastDecision>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What was decided when somebody looked last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastDecision {
    pub at: DateTime<Utc>,
    pub wanted: u32,
    /// In words.
    pub reason: String,
}

#[cfg(test)]
mod tests;
