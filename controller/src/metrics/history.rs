//! The last minutes of an app's requests, for people.

use std::collections::VecDeque;

use fairway_scheduler::autoscale::Traffic;

/// Samples that are kept: five minutes.
const POINTS_MAX: usize = 60;

/// One sample. Small numbers in small types: there may be many apps.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Point {
    pub rps: f32,
    pub p95_ms: f32,
}

#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Point>);

impl History {
    pub(super) fn push(&mut self, traffic: &Traffic) {
        if self.0.len() == POINTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Point {
            rps: traffic.rps as f32,
            p95_ms: traffic.p95_ms.unwrap_or_default() as f32,
        });
    }

    /// True when there is nothing to show.
    pub(super) fn is_quiet(&self) -> bool {
        self.0.iter().all(|point| *point == Point::default())
    }

    pub(super) fn points(&self) -> Vec<Point> {
        self.0.iter().copied().collect()
    }
}
