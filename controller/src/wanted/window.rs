//! Which of an app's images stay. Pure.

use std::collections::BTreeSet;

use fairway_api::{
    ids::{AppId, ReleaseId},
    names::Digest,
    releases::ReleaseStatus,
};

/// A release whose image is kept so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub id: ReleaseId,
    pub app: AppId,
    pub image: Digest,
    /// Images of its sidecars; they stay with it.
    pub beside: BTreeSet<Digest>,
    pub status: ReleaseStatus,
    /// It serves, a deployment moves to it, or a pod runs it.
    pub in_use: bool,
}

/// What becomes of an app's images.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// They stay.
    pub(super) images: BTreeSet<Digest>,
    /// The releases whose image is given up.
    pub(super) expired: Vec<ReleaseId>,
}

/// Decides for one app; `releases` are newest first. What stays: images in use or of a release that
/// has not ended yet, and the newest `count` different images that have run. Images are counted and
/// not releases, because each change of a config var is a release too, and ten of them must not
/// push out the last push.
pub(super) fn window(releases: &[Candidate], count: usize) -> Window {
    let mut images: BTreeSet<Digest> = BTreeSet::new();
    let ran = releases
        .iter()
        .filter(|release| release.status == ReleaseStatus::Succeeded);
    for release in ran {
        if images.len() == count {
            break;
        }
        images.insert(release.image.clone());
    }
    let needed = releases
        .iter()
        .filter(|release| release.in_use || release.status == ReleaseStatus::Pending);
    images.extend(needed.map(|release| release.image.clone()));
    let expired = releases
        .iter()
        .filter(|release| !images.contains(&release.image))
        .map(|release| release.id)
        .collect();
    let kept = releases
        .iter()
        .filter(|release| images.contains(&release.image));
    let beside: Vec<Digest> = kept.flat_map(|it| it.beside.iter().cloned()).collect();
    images.extend(beside);
    Window { images, expired }
}

#[cfg(test)]
mod tests {
    use fairway_api::releases::ReleaseStatus::{Failed, Pending, Succeeded};
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn digest(n: u8) -> Digest {
        format!("sha256:{}", format!("{n:02x}").repeat(32))
            .parse()
            .unwrap()
    }

    fn release(version: usize, image: u8, status: ReleaseStatus, in_use: bool) -> Candidate {
        Candidate {
            id: ReleaseId::from_u128(version as u128),
            app: AppId::from_u128(1),
            image: digest(image),
            beside: BTreeSet::new(),
            status,
            in_use,
        }
    }

    /// `releases` are newest first, as (image, status, in use).
    fn candidates(releases: &[(u8, ReleaseStatus, bool)]) -> Vec<Candidate> {
        let newest = releases.len();
        let made = releases.iter().enumerate();
        made.map(|(i, &(image, status, in_use))| release(newest - i, image, status, in_use))
            .collect()
    }

    /// Why images stay, an app's releases, how many images are kept, and which those are.
    type Row = (
        &'static str,
        &'static [(u8, ReleaseStatus, bool)],
        usize,
        &'static [u8],
    );

    const REASONS: [Row; 9] = [
        ("nothing", &[], 2, &[]),
        (
            "the newest",
            &[
                (3, Succeeded, true),
                (2, Succeeded, false),
                (1, Succeeded, false),
            ],
            2,
            &[2, 3],
        ),
        (
            "config changes share an image and count once",
            &[
                (2, Succeeded, true),
                (2, Succeeded, false),
                (1, Succeeded, false),
            ],
            2,
            &[1, 2],
        ),
        (
            "what failed never ran, and pushes nothing out",
            &[
                (3, Failed, false),
                (2, Succeeded, true),
                (1, Succeeded, false),
            ],
            2,
            &[1, 2],
        ),
        (
            "a failed config change keeps the image that others run",
            &[(1, Failed, false), (1, Succeeded, true)],
            1,
            &[1],
        ),
        (
            "what is on its way stays beside the count",
            &[
                (3, Pending, true),
                (2, Succeeded, true),
                (1, Succeeded, false),
            ],
            1,
            &[2, 3],
        ),
        (
            "what has not ended stays, whoever moves it",
            &[(2, Pending, false), (1, Succeeded, true)],
            1,
            &[1, 2],
        ),
        (
            "a pod that drains keeps its image",
            &[
                (3, Succeeded, true),
                (2, Succeeded, false),
                (1, Succeeded, true),
            ],
            1,
            &[1, 3],
        ),
        (
            "a release that failed while its pods still stop keeps its image",
            &[(2, Failed, true), (1, Succeeded, true)],
            1,
            &[1, 2],
        ),
    ];

    #[test]
    fn images_stay_for_a_reason() {
        for (why, releases, count, expected) in REASONS {
            let candidates = candidates(releases);
            let images: BTreeSet<Digest> = expected.iter().map(|&n| digest(n)).collect();
            assert_eq!(window(&candidates, count).images, images, "{why}");
        }
    }

    #[test]
    fn images_of_sidecars_stay_as_long_as_their_release() {
        let mut releases = candidates(&[
            (3, Succeeded, true),
            (2, Succeeded, false),
            (1, Succeeded, false),
        ]);
        for (release, beside) in releases.iter_mut().zip([13, 12, 11]) {
            release.beside = BTreeSet::from([digest(beside)]);
        }
        let window = window(&releases, 2);
        assert_eq!(window.images, BTreeSet::from([2, 3, 12, 13].map(digest)));
        assert_eq!(window.expired.len(), 1);
    }

    fn any_releases() -> impl Strategy<Value = Vec<Candidate>> {
        let status = prop::sample::select(vec![Succeeded, Failed, Pending]);
        vec((0..12_u8, status, prop::bool::weighted(0.1)), 0..40)
            .prop_map(|releases| candidates(&releases))
    }

    proptest! {
        #[test]
        fn what_is_given_up_is_nobodys(releases in any_releases(), count in 1..12_usize) {
            let window = window(&releases, count);
            for release in &releases {
                let given_up = window.expired.contains(&release.id);
                prop_assert_ne!(given_up, window.images.contains(&release.image));
                prop_assert!(!(given_up && release.in_use));
                prop_assert!(!(given_up && release.status == Pending));
            }
            // The newest `count` releases that ran are always among what stays.
            let ran = releases.iter().filter(|release| release.status == Succeeded);
            for release in ran.take(count) {
                prop_assert!(window.images.contains(&release.image));
            }
        }

        #[test]
        fn looking_again_gives_up_nothing_more(releases in any_releases(), count in 1..12_usize) {
            let first = window(&releases, count);
            let mut left = releases;
            left.retain(|release| !first.expired.contains(&release.id));
            let again = window(&left, count);
            prop_assert_eq!(again, Window { images: first.images, expired: vec![] });
        }
    }
}
