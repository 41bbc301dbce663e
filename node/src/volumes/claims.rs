//! Who is about to have a volume, and which is being worked on: the moments that the engine's list
//! of containers does not show.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
};

use fairway_api::ids::VolumeId;

/// Claims of pods that start, and of work.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<Claimed>);

#[derive(Debug, Default)]
struct Claimed {
    /// How many pods that start have it.
    starting: BTreeMap<VolumeId, usize>,
    working: BTreeSet<VolumeId>,
}

/// A pod that starts; ends when it is dropped.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    of: &'a Claims,
    volumes: Vec<VolumeId>,
}

/// Work on a volume; ends when it is dropped.
#[derive(Debug)]
pub(super) struct Work<'a> {
    of: &'a Claims,
    volume: VolumeId,
}

impl Claims {
    pub(super) fn claim(&self, volumes: Vec<VolumeId>) -> Claim<'_> {
        let mut claimed = self.lock();
        for id in &volumes {
            *claimed.starting.entry(*id).or_default() += 1;
        }
        drop(claimed);
        Claim { of: self, volumes }
    }

    /// `None` while a pod that starts has it, or other work is done on it.
    pub(super) fn work(&self, volume: VolumeId) -> Option<Work<'_>> {
        let mut claimed = self.lock();
        let free = !claimed.starting.contains_key(&volume) && claimed.working.insert(volume);
        drop(claimed);
        // Made only if it is free: one that is dropped takes the claim of another with it.
        free.then(|| Work { of: self, volume })
    }

    pub(super) fn is_busy(&self, volume: VolumeId) -> bool {
        self.lock().working.contains(&volume)
    }

    fn lock(&self) -> MutexGuard<'_, Claimed> {
        self.0
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut claimed = self.of.lock();
        for id in &self.volumes {
            if let Some(count) = claimed.starting.get_mut(id) {
                *count -= 1;
                if *count == 0 {
                    claimed.starting.remove(id);
                }
            }
        }
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.of.lock().working.remove(&self.volume);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_starts_of_pods_exclude_each_other() {
        let claims = Claims::default();
        let id = VolumeId::from_u128(1);
        let (one, two) = (claims.claim(vec![id]), claims.claim(vec![id]));
        assert!(claims.work(id).is_none());
        drop(one);
        assert!(claims.work(id).is_none());
        drop(two);
        let work = claims.work(id);
        assert!(work.is_some() && claims.work(id).is_none() && claims.is_busy(id));
        drop(work);
        assert!(!claims.is_busy(id) && claims.work(id).is_some());
    }
}
