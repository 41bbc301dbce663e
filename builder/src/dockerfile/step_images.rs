//! The images that the engine keeps of each step of a build, and by which the next build is fast.
//! They have no name, and the engine does not know whose they are; so it is written down here.
//!
//! Of each app those stay that its last good build used, with those of failed builds since: whoever
//! mends a Dockerfile starts where it broke. The others are given up.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use fairway_api::ids::AppId;
use serde::{Deserialize, Serialize};

/// The most images that are remembered per app: a Dockerfile of some hundred steps, or a few failed
/// builds of an ordinary one. The oldest are given up beyond.
const IMAGES_MAX: usize = 500;

/// What builds made, in a file.
pub(crate) struct StepImages {
    file: PathBuf,
    record: Mutex<Record>,
}

/// What is remembered: ids, in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    used: BTreeMap<AppId, Vec<String>>,
    /// Used by no newer build.
    given_up: Vec<String>,
}

impl StepImages {
    /// Goes on with what the folder has. A file that cannot be read is forgotten: the images stay
    /// in the engine then, for its operator to prune.
    pub(crate) fn open(data: &Path) -> Self {
        let file = data.join("step-images.json");
        let record = fs::read(&file)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self {
            file,
            record: Mutex::new(record.unwrap_or_default()),
        }
    }

    /// Notes what a build used. A record that cannot be written costs disk and fails no build.
    pub(crate) fn built(&self, app: AppId, images: Vec<String>, good: bool) {
        let mut record = self.record();
        record.built(app, images, good);
        if let Err(error) = self.save(&record) {
            tracing::warn!("cannot remember the images of a build's steps: {error:#}");
        }
    }

    /// The images that may go, newest first, so that what stands on another goes before it.
    pub(crate) fn given_up(
        &self,
        is_destroyed: impl Fn(AppId) -> bool,
    ) -> anyhow::Result<Vec<String>> {
        let mut record = self.record();
        record.destroy(is_destroyed);
        self.save(&record)?;
        Ok(record.removable())
    }

    /// Forgets what was given up: it is gone, or it is part of something that has a name.
    pub(crate) fn forget_given_up(&self) -> anyhow::Result<()> {
        let mut record = self.record();
        record.given_up.clear();
        self.save(&record)
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the file at once. After a power cut an older one may be there, or none: what it
    /// does not name stays in the engine.
    fn save(&self, record: &Record) -> anyhow::Result<()> {
        let unfinished = self.file.with_extension("new");
        let write = || -> io::Result<()> {
            fs::write(&unfinished, serde_json::to_vec(record)?)?;
            fs::rename(&unfinished, &self.file)
        };
        write().with_context(|| format!("write {}", self.file.display()))
    }
}

impl Record {
    fn built(&mut self, app: AppId, images: Vec<String>, good: bool) {
        let used = self.used.entry(app).or_default();
        let before = std::mem::take(used);
        let (again, mut not_again): (Vec<_>, Vec<_>) =
            before.into_iter().partition(|id| images.contains(id));
        if good {
            self.given_up.append(&mut not_again);
        } else {
            used.append(&mut not_again);
            used.extend(again);
        }
        let fresh: Vec<String> = images.into_iter().filter(|id| !used.contains(id)).collect();
        used.extend(fresh);
        let surplus = used.len().saturating_sub(IMAGES_MAX);
        self.given_up.extend(used.drain(..surplus));
    }

    fn destroy(&mut self, is_destroyed: impl Fn(AppId) -> bool) {
        for (_, images) in self.used.extract_if(.., |app, _| is_destroyed(*app)) {
            self.given_up.extend(images);
        }
    }

    /// What was given up and is used by no app, newest first and each once.
    fn removable(&self) -> Vec<String> {
        let mut named: BTreeSet<&String> = self.used.values().flatten().collect();
        let newest_first = self.given_up.iter().rev();
        newest_first
            .filter(|id| named.insert(id))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn app(n: u8) -> AppId {
        AppId::from_u128(u128::from(n))
    }

    fn ids(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_last_good_build_and_failures_since_stay() {
        // Builds of one app as (its images, whether it was good), and what may go after each.
        let table = [
            ("a b c", true, ""),
            ("a b c", true, ""),
            ("a d", false, ""),
            ("a d e", false, ""),
            ("a d f", true, "e c b"),
            ("x", true, "f d a e c b"),
        ];
        let mut record = Record::default();
        for (images, good, may_go) in table {
            record.built(app(1), ids(images), good);
            let mut removable = record.removable();
            let mut may_go = ids(may_go);
            removable.sort();
            may_go.sort();
            assert_eq!(removable, may_go, "after {images:?}");
        }
    }

    #[test]
    fn what_another_app_uses_stays() {
        let mut record = Record::default();
        record.built(app(1), ids("base mine"), true);
        record.built(app(2), ids("base"), true);
        record.destroy(|id| id == app(1));
        assert_eq!(record.removable(), ["mine"]);
        record.destroy(|id| id == app(2));
        assert_eq!(record.removable(), ["base", "mine"]);
    }

    #[test]
    fn it_is_remembered_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        StepImages::open(dir.path()).built(app(1), ids("a b"), true);
        let again = StepImages::open(dir.path());
        assert!(again.given_up(|_| false).unwrap().is_empty());
        assert_eq!(again.given_up(|_| true).unwrap(), ["b", "a"]);
        again.forget_given_up().unwrap();
        assert!(again.given_up(|_| true).unwrap().is_empty());
        fs::write(dir.path().join("step-images.json"), "{").unwrap();
        assert!(
            StepImages::open(dir.path())
                .given_up(|_| true)
                .unwrap()
                .is_empty()
        );
    }

    proptest! {
        #[test]
        fn what_may_go_is_used_by_no_newest_build(
            builds in vec((0..3_u8, vec(0..20_u16, 0..8), any::<bool>()), 0..30)
        ) {
            let mut record = Record::default();
            let mut last: BTreeMap<u8, Vec<String>> = BTreeMap::new();
            for (owner, images, good) in builds {
                let images: Vec<String> = images.iter().map(u16::to_string).collect();
                record.built(app(owner), images.clone(), good);
                last.insert(owner, images);
                let removable = record.removable();
                for id in last.values().flatten() {
                    prop_assert!(!removable.contains(id));
                }
                let used = record.used.values().all(|used| used.len() <= IMAGES_MAX);
                prop_assert!(used);
            }
        }
    }
}
