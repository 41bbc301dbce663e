//! What of all that fills disks is still wanted: one whole document, from which builders and
//! registries learn what they may remove.
//!
//! Nothing goes for want of a word: an app's repository, cache and images are removed only when the
//! document says that the app was destroyed, never because it does not name the app. An answer that
//! is empty, or of a controller whose database was lost, removes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{ids::AppId, names::Digest};

/// The most destroyed apps that the document names, newest first. What is older was removed long
/// ago, or lies with a builder that has been away for that long and is left as it is.
pub const DESTROYED_APPS_MAX: u32 = 10_000;

/// In front of the app's id in the name of its repository in the registry.
const REPOSITORY_PREFIX: &str = "apps/";

/// `GET /internal/wanted`. Whoever removes anything lists what it has first and asks then, so that
/// what came to be in between is not even looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Every app there is, with the digests of the images that its releases may still run.
    pub apps: BTreeMap<AppId, BTreeSet<Digest>>,
    /// Apps that were destroyed, at most [`DESTROYED_APPS_MAX`].
    pub destroyed: BTreeSet<AppId>,
}

/// `GET /internal/wanted/notice?unlike=NUMBER`: a number that changes when an app is destroyed; 204
/// when it is still the same after `nodes::LONG_POLL_SECS`. It means nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    pub number: u64,
}

/// What is to become of all that belongs to an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate<'a> {
    /// It lives; of its images these are wanted.
    Lives(&'a BTreeSet<Digest>),
    /// It was destroyed: everything goes.
    Destroyed,
    /// Nobody knows: everything stays.
    Unknown,
}

impl Wanted {
    /// What is to become of an app's repository, cache and images.
    pub fn fate(&self, app: AppId) -> Fate<'_> {
        match self.apps.get(&app) {
            // Should a document ever say both, life wins.
            Some(images) => Fate::Lives(images),
            None if self.destroyed.contains(&app) => Fate::Destroyed,
            None => Fate::Unknown,
        }
    }
}

/// The repository of an app's images in the registry. By id, so that a rename moves nothing.
pub fn image_repository(app: AppId) -> String {
    format!("{REPOSITORY_PREFIX}{app}")
}

/// The app whose images a repository of the registry holds; `None` for one of another kind, which
/// is nobody's to remove.
pub fn app_of_image_repository(name: &str) -> Option<AppId> {
    let id: AppId = name.strip_prefix(REPOSITORY_PREFIX)?.parse().ok()?;
    // An id can be written in several ways, and only one is a name that we gave.
    (image_repository(id) == name).then_some(id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn app(n: u8) -> AppId {
        AppId::from_u128(u128::from(n))
    }

    #[test]
    fn only_what_was_destroyed_goes() {
        let digest = format!("sha256:{}", "ab".repeat(32)).parse().unwrap();
        let images = BTreeSet::from([digest]);
        let wanted = Wanted {
            apps: [(app(1), images.clone()), (app(2), BTreeSet::new())].into(),
            destroyed: [app(2), app(3)].into(),
        };
        for (id, fate) in [
            (1, Fate::Lives(&images)),
            (2, Fate::Lives(&BTreeSet::new())),
            (3, Fate::Destroyed),
            (4, Fate::Unknown),
        ] {
            assert_eq!(wanted.fate(app(id)), fate, "app {id}");
        }
    }

    #[test]
    fn repositories_name_their_app_in_one_way() {
        let id = app(7);
        assert_eq!(app_of_image_repository(&image_repository(id)), Some(id));
        let upper = AppId::from_u128(0xAB).to_string().to_uppercase();
        for other in [
            "fairway/run",
            "apps/shop",
            "apps/",
            "apps",
            &format!("x/apps/{id}"),
            &format!("apps/{upper}"),
            &format!("apps/{{{id}}}"),
            &format!("apps/{}", id.as_uuid().simple()),
        ] {
            assert_eq!(app_of_image_repository(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn an_answer_that_destroys_nothing_removes_nothing(live: BTreeSet<u8>, asked: u8) {
            let apps = live.into_iter().map(|n| (app(n), BTreeSet::new())).collect();
            let wanted = Wanted { apps, destroyed: BTreeSet::new() };
            prop_assert_ne!(wanted.fate(app(asked)), Fate::Destroyed);
        }

        #[test]
        fn a_living_app_is_never_destroyed(live: BTreeSet<u8>, destroyed: BTreeSet<u8>) {
            let wanted = Wanted {
                apps: live.iter().map(|&n| (app(n), BTreeSet::new())).collect(),
                destroyed: destroyed.iter().map(|&n| app(n)).collect(),
            };
            for n in 0..=u8::MAX {
                let goes = wanted.fate(app(n)) == Fate::Destroyed;
                prop_assert_eq!(goes, destroyed.contains(&n) && !live.contains(&n));
            }
        }
    }
}
