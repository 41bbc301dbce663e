//! What the state of the machine's disk asks of a pod. Pure.

use fairway_api::pods::PodPhase;

use super::{DiskOrder, Do, Pod, ending::Ending};

impl Pod {
    pub(super) fn disk(&mut self, order: DiskOrder) -> Vec<Do> {
        use PodPhase::{BackOff, Exited, NeverReady, Running, Starting};
        let ending = match (order, &self.record.status.phase) {
            // Its log is delivered first; what it said at its end stands in its status.
            (DiskOrder::Tidy, BackOff { .. } | Exited | NeverReady) => {
                return self.bury().into_iter().collect();
            }
            (DiskOrder::OverBudget { written, budget }, Starting | Running { .. }) => {
                Ending::OverBudget { written, budget }
            }
            (DiskOrder::Evict { written }, Starting | Running { .. }) => {
                Ending::Evicted { written }
            }
            _ => return vec![],
        };
        let line = format!("Error: {}", ending.why());
        let mut todo = self.stop(ending);
        todo.insert(0, Do::Say(line));
        todo
    }
}
