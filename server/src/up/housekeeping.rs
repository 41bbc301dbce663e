//! What is cleaned up from time to time: content of the registry that no manifest refers to, as
//! interrupted pushes leave it. Images of releases stay: each is a rollback target.

use std::time::Duration;

use fairway_registry::{Collect, Collector, Keep};
use tokio_util::sync::CancellationToken;

/// Pause between two passes. A pass reads every manifest, which costs seconds on a large store.
const EVERY: Duration = Duration::from_secs(6 * 60 * 60);
/// What was touched within this time stays; no push takes that long.
const AGE_MIN: Duration = Duration::from_secs(24 * 60 * 60);

/// Cleans up until `shutdown`, a first time after [`EVERY`]: a start has better things to do.
pub(super) async fn run(registry: Collector, shutdown: CancellationToken) -> anyhow::Result<()> {
    while shutdown
        .run_until_cancelled(tokio::time::sleep(EVERY))
        .await
        .is_some()
    {
        let what = Collect {
            keep: Keep::EveryManifest,
            age_min: AGE_MIN,
            dry_run: false,
        };
        match registry.collect(what).await {
            Ok(collected) => tracing::info!(bytes = collected.bytes, "cleaned up the registry"),
            // The next pass tries again; a full log of the same is of no use.
            Err(error) => tracing::error!("cleaning up the registry failed: {error:#}"),
        }
    }
    Ok(())
}
