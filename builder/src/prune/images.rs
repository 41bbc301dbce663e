//! Images that Dockerfile builds made in the container engine.
//!
//! Two kinds, told apart from what other users of the engine own by what only we know. Those with a
//! name of ours, `REGISTRY/apps/APP`, go by name: the engine then removes an image with its last
//! name, and what it stood on with it, and refuses while a container uses it. Those without any
//! name, which the engine keeps of each step, go by the ids that our builds told
//! ([`StepImages`](crate::dockerfile::step_images::StepImages)), unless somebody has named them
//! since or built on them.
//!
//! Nothing is pruned by kind: the engine cannot say whose a dangling image or an entry of the
//! BuildKit cache is. Our builds leave nothing in the latter.

use std::{collections::HashMap, time::Duration};

use anyhow::Context as _;
use bollard::{
    errors::Error as DockerError,
    query_parameters::{ListImagesOptionsBuilder, RemoveImageOptions},
};
use chrono::{DateTime, TimeDelta, Utc};
use fairway_api::{
    client::{Client, Passed},
    names::Digest,
    wanted::{Fate, Wanted, app_of_image_repository},
};
use tokio::time::timeout;

use crate::build::BuildTools;

/// How long builds that run may hold up a pass, and a waiting pass builds that begin, in seconds.
const QUIET_WAIT_SECS: u64 = 2;
/// How old an image of a living app has to be to go, in minutes: the release of one that was just
/// built is not made yet.
const UNWANTED_MINUTES: i64 = 60;

/// A name of an image in the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    /// `127.0.0.1:5000/apps/ID:latest`, or with a digest.
    reference: String,
    made_at: DateTime<Utc>,
}

/// Removes what may go. Asks itself what is wanted, because it lists first.
pub(super) async fn prune(tools: &BuildTools, client: &Client) -> anyhow::Result<Passed> {
    let Some(host) = tools.registry_host().await else {
        // Nothing was built since the start, so nobody said which registry is ours.
        return Ok(Passed::Done);
    };
    // A build that has just found a step in the engine's cache must not lose it.
    let quiet = timeout(
        Duration::from_secs(QUIET_WAIT_SECS),
        tools.dockerfile_builds().write(),
    );
    let Ok(_quiet) = quiet.await else {
        return Ok(Passed::Busy);
    };
    let named = list(tools, &host).await?;
    let wanted = client
        .wanted()
        .await
        .context("ask the controller which images are wanted")?;
    let mut passed = Passed::Done;
    for reference in unwanted(&named, &host, &wanted, Utc::now()) {
        if remove(tools, &reference).await? == Removed::InUse {
            passed = Passed::Busy;
        }
    }
    remove_steps(tools, &wanted).await?;
    Ok(passed)
}

/// All names that begin with ours.
async fn list(tools: &BuildTools, host: &str) -> anyhow::Result<Vec<Named>> {
    let filters = HashMap::from([("reference", vec![format!("{host}/apps/*")])]);
    let options = ListImagesOptionsBuilder::default()
        .filters(&filters)
        .build();
    let images = tools.engine().docker().list_images(Some(options)).await;
    let mut named = Vec::new();
    for image in images.context("list the images in the engine")? {
        let made_at = DateTime::from_timestamp(image.created, 0).unwrap_or(DateTime::UNIX_EPOCH);
        let references = image.repo_tags.into_iter().chain(image.repo_digests);
        named.extend(references.map(|reference| Named { reference, made_at }));
    }
    Ok(named)
}

/// The names that go: every name of a destroyed app, and of a living one the digests that no release
/// may run any more. Its newest build, `latest`, stays: the next one builds on its steps.
fn unwanted(named: &[Named], host: &str, wanted: &Wanted, now: DateTime<Utc>) -> Vec<String> {
    let goes = |named: &&Named| {
        let Some(name) = named.reference.strip_prefix(&format!("{host}/")) else {
            return false;
        };
        let (repository, digest) = match name.split_once('@') {
            Some((repository, digest)) => (repository, digest.parse::<Digest>().ok()),
            None => (name.split(':').next().unwrap_or(name), None),
        };
        let Some(app) = app_of_image_repository(repository) else {
            return false;
        };
        match (wanted.fate(app), digest) {
            (Fate::Destroyed, _) => true,
            (Fate::Lives(images), Some(digest)) => {
                !images.contains(&digest)
                    && now - named.made_at > TimeDelta::minutes(UNWANTED_MINUTES)
            }
            (Fate::Lives(_), None) | (Fate::Unknown, _) => false,
        }
    };
    let going = named.iter().filter(goes);
    going.map(|named| named.reference.clone()).collect()
}

/// What became of an image.
#[derive(Debug, PartialEq, Eq)]
enum Removed {
    Gone,
    InUse,
}

/// Removes a name, or an image by its id, never by force.
async fn remove(tools: &BuildTools, name: &str) -> anyhow::Result<Removed> {
    let removed = tools
        .engine()
        .docker()
        .remove_image(name, None::<RemoveImageOptions>, None);
    match removed.await {
        Ok(_) => {
            tracing::info!(image = name, "removed an image that nothing needs any more");
            Ok(Removed::Gone)
        }
        Err(DockerError::DockerResponseServerError {
            status_code: 404, ..
        }) => Ok(Removed::Gone),
        Err(DockerError::DockerResponseServerError {
            status_code: 409, ..
        }) => Ok(Removed::InUse),
        Err(error) => Err(error).with_context(|| format!("remove the image {name}")),
    }
}

/// Removes images of steps that the newest builds did not use. One that has got a name, or on which
/// another stands, is part of something that goes by name.
async fn remove_steps(tools: &BuildTools, wanted: &Wanted) -> anyhow::Result<()> {
    for id in tools
        .step_images()
        .given_up(|app| wanted.fate(app) == Fate::Destroyed)?
    {
        let Some(image) = tools.engine().image(&id).await? else {
            continue;
        };
        let names = image.repo_tags.iter().chain(&image.repo_digests);
        if names.flatten().next().is_none() {
            remove(tools, &id).await?;
        }
    }
    tools.step_images().forget_given_up()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use fairway_api::{ids::AppId, wanted::image_repository};

    use super::*;

    const HOST: &str = "127.0.0.1:5000";

    fn digest(n: u8) -> String {
        format!("sha256:{}", format!("{n:02x}").repeat(32))
    }

    /// Why, whether it goes, the name, and the minute in which the image was made. `A1` lives and
    /// wants `D1`, `A2` was destroyed, nobody knows `A3`; it is the minute 1,000.
    const NAMES: [(&str, bool, &str, i64); 15] = [
        ("wanted", false, "HOST/A1@D1", 0),
        ("too old", true, "HOST/A1@D2", 0),
        ("just built", false, "HOST/A1@D2", 990),
        ("newest build", false, "HOST/A1:latest", 0),
        ("destroyed", true, "HOST/A2:latest", 999),
        ("destroyed", true, "HOST/A2@D1", 999),
        ("unknown app", false, "HOST/A3:latest", 0),
        ("unknown app", false, "HOST/A3@D2", 0),
        ("another registry", false, "other:5000/A2:latest", 0),
        ("a longer host", false, "xHOST/A2:latest", 0),
        ("a longer port", false, "HOST0/A2:latest", 0),
        ("no app's", false, "HOST/fairway/run:bookworm", 0),
        ("below an app's", false, "HOST/A2/x:latest", 0),
        ("no digest", false, "HOST/A1@sha256:?", 0),
        ("no name", false, "<none>:<none>", 0),
    ];

    #[test]
    fn names_go_by_table() {
        let app = AppId::from_u128;
        let images = BTreeSet::from([digest(1).parse().unwrap()]);
        let wanted = Wanted {
            apps: [(app(1), images)].into(),
            destroyed: [app(2)].into(),
        };
        let at = |minutes| DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes);
        for (why, goes, name, made_at) in NAMES {
            let mut reference = name.replace("HOST", HOST);
            for n in 1..=3_u8 {
                let repository = image_repository(app(n.into()));
                reference = reference
                    .replace(&format!("A{n}"), &repository)
                    .replace(&format!("D{n}"), &digest(n));
            }
            let made_at = at(made_at);
            let named = [Named { reference, made_at }];
            let going = unwanted(&named, HOST, &wanted, at(1_000));
            assert_eq!(!going.is_empty(), goes, "{why}: {name}");
            let none = unwanted(&named, HOST, &Wanted::default(), at(1_000));
            assert!(none.is_empty(), "an empty answer removes nothing");
        }
    }
}
