//! What the registry no longer has to keep: repositories of destroyed apps, images of releases that
//! are too old to go back to, and content of interrupted pushes that no manifest refers to.
//!
//! The registry does not know what an app is, and the controller does not know what the registry
//! has; this joins the two. Who may go is the controller's word alone: when it does not answer,
//! nothing is removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::Context;
use fairway_api::{
    client::{Client, Pace, Passed},
    wanted::{Fate, Wanted, app_of_image_repository},
};
use fairway_registry::{Collect, Collector, Digest, Keep, Repository};
use tokio_util::sync::CancellationToken;

/// When it is looked. A pass reads every manifest, which costs seconds on a large store.
const PACE: Pace = Pace {
    pause: Duration::from_secs(10),
    every: Duration::from_secs(60 * 60),
};
/// What was touched within this time stays, unless its app was destroyed: no push takes that long,
/// and an image that was just built has no release yet.
const AGE_MIN: Duration = Duration::from_secs(24 * 60 * 60);

/// Cleans up until `shutdown`.
pub(crate) async fn run(
    registry: Collector,
    client: Client,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let passes = client.prune(PACE, || told(&registry, &client));
    shutdown.run_until_cancelled(passes).await;
    Ok(())
}

async fn told(registry: &Collector, client: &Client) -> Passed {
    match pass(registry, client).await {
        Ok(bytes) => tracing::info!(bytes, "cleaned up the registry"),
        // The next pass tries again; a full log of the same is of no use.
        Err(error) => tracing::error!("cleaning up the registry failed: {error:#}"),
    }
    Passed::Done
}

/// One pass; gives the bytes that were freed.
async fn pass(registry: &Collector, client: &Client) -> anyhow::Result<u64> {
    // Listed before it is asked: a repository that comes to be in between is not touched.
    let repositories = registry.repositories().await?;
    let wanted = client
        .wanted()
        .await
        .context("ask the controller which images are wanted")?;
    let what = Collect {
        keep: keep(repositories, &wanted),
        age_min: AGE_MIN,
        dry_run: false,
    };
    Ok(registry.collect(what).await?.bytes)
}

/// What is kept of each repository. One that is no app's, or of an app that nobody knows, is not
/// named and so keeps all.
fn keep(repositories: Vec<Repository>, wanted: &Wanted) -> BTreeMap<Repository, Keep> {
    let decide = |name: Repository| {
        let app = app_of_image_repository(name.as_str())?;
        let keep = match wanted.fate(app) {
            Fate::Unknown => return None,
            Fate::Destroyed => Keep::Nothing,
            Fate::Lives(images) => {
                let digests = images.iter().map(|image| image.as_str().parse().ok());
                // The two grammars are one; were they not, nothing may go on a misunderstanding.
                Keep::TaggedAnd(digests.collect::<Option<BTreeSet<Digest>>>()?)
            }
        };
        Some((name, keep))
    };
    repositories.into_iter().filter_map(decide).collect()
}

#[cfg(test)]
mod tests {
    use fairway_api::{ids::AppId, wanted::image_repository};

    use super::*;

    #[test]
    fn only_what_the_controller_gave_up_goes() {
        let id = AppId::from_u128;
        let text = format!("sha256:{}", "ab".repeat(32));
        let wanted = Wanted {
            apps: [
                (id(1), BTreeSet::from([text.parse().unwrap()])),
                (id(2), BTreeSet::new()),
            ]
            .into(),
            destroyed: [id(3)].into(),
        };
        let name = |app| -> Repository { image_repository(id(app)).parse().unwrap() };
        let others = ["fairway/run", "apps/shop"].map(|name| name.parse().unwrap());
        let there = (1..=4).map(name).chain(others).collect();
        let listed = Keep::TaggedAnd(BTreeSet::from([text.parse().unwrap()]));
        let expected = BTreeMap::from([
            (name(1), listed),
            (name(2), Keep::TaggedAnd(BTreeSet::new())),
            (name(3), Keep::Nothing),
        ]);
        assert_eq!(keep(there, &wanted), expected);
        let all = vec![name(1), name(3)];
        assert!(keep(all, &Wanted::default()).is_empty(), "an empty answer");
    }
}
