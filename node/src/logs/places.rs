//! How far each container's log has been delivered.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{engine::Piece, ledger::Ledger};

/// The ledger's name for the places.
const PLACES_FILE: &str = "log-places";

/// How far one of the two streams has been read. The engine stamps each stream's pieces in order,
/// but gives the parts of a long line one and the same time: hence the count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub(super) struct Mark {
    at: DateTime<Utc>,
    pieces: u32,
}

/// How far a container's log has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Position {
    output: Mark,
    errors: Mark,
}

/// A position in a container's log.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) container: Arc<str>,
    pub(super) position: Position,
}

impl Position {
    /// From where to read on: no piece before it is missing.
    pub(super) fn since(&self) -> DateTime<Utc> {
        self.output.at.min(self.errors.at)
    }
}

/// Reads a log again from [`Position::since`] on and skips what was read before.
#[derive(Debug)]
pub(super) struct Reader {
    reached: Position,
    passing: Position,
}

impl Reader {
    pub(super) fn after(reached: Position) -> Self {
        Self {
            reached,
            passing: Position::default(),
        }
    }

    pub(super) fn reached(&self) -> Position {
        self.reached
    }

    /// Passes a piece; true if it is new.
    pub(super) fn pass(&mut self, piece: &Piece) -> bool {
        let (passing, reached) = if piece.error_output {
            (&mut self.passing.errors, &mut self.reached.errors)
        } else {
            (&mut self.passing.output, &mut self.reached.output)
        };
        let pieces = if passing.at == piece.at {
            passing.pieces + 1
        } else {
            1
        };
        *passing = Mark {
            at: piece.at,
            pieces,
        };
        let new = *passing > *reached;
        if new {
            *reached = *passing;
        }
        new
    }
}

/// All places, kept in the ledger.
#[derive(Debug)]
pub(crate) struct Places {
    ledger: Arc<Ledger>,
    positions: Mutex<BTreeMap<Arc<str>, Position>>,
}

impl Places {
    pub(crate) fn load(ledger: Arc<Ledger>) -> Self {
        let positions = Mutex::new(ledger.load(PLACES_FILE).unwrap_or_default());
        Self { ledger, positions }
    }

    pub(super) fn of(&self, container: &str) -> Position {
        self.positions().get(container).copied().unwrap_or_default()
    }

    /// Remembers what was delivered.
    pub(super) fn delivered(&self, places: impl Iterator<Item = Place>) {
        self.positions()
            .extend(places.map(|place| (place.container, place.position)));
        self.save();
    }

    /// Forgets a container that was removed.
    pub(crate) fn forget(&self, container: &str) {
        let known = self.positions().remove(container).is_some();
        if known {
            self.save();
        }
    }

    fn save(&self) {
        let positions = self.positions().clone();
        if let Err(error) = self.ledger.save(PLACES_FILE, &positions) {
            tracing::error!(
                "cannot remember the log places: {:#}",
                anyhow::Error::from(error)
            );
        }
    }

    fn positions(&self) -> std::sync::MutexGuard<'_, BTreeMap<Arc<str>, Position>> {
        self.positions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn piece((error_output, nanos): (bool, i64)) -> Piece {
        Piece {
            error_output,
            at: DateTime::from_timestamp_nanos(nanos),
            text: String::new(),
        }
    }

    proptest! {
        /// Reading breaks off anywhere and begins again anywhere before that: every piece is new
        /// exactly once.
        #[test]
        fn nothing_is_lost_and_nothing_repeated(
            mut log in proptest::collection::vec((any::<bool>(), 1_i64..20), 1..40),
            cut in 0_usize..40,
        ) {
            log.sort_by_key(|&(_, nanos)| nanos);
            let cut = cut.min(log.len());
            let mut first = Reader::after(Position::default());
            prop_assert!(log[..cut].iter().all(|&p| first.pass(&piece(p))));
            let reached = first.reached();
            let mut second = Reader::after(reached);
            let again: Vec<usize> = (0..log.len())
                .filter(|&i| log[i].1 >= reached.since().timestamp_nanos_opt().unwrap())
                .filter(|&i| second.pass(&piece(log[i])))
                .collect();
            prop_assert_eq!(again, (cut..log.len()).collect::<Vec<_>>());
        }
    }
}
