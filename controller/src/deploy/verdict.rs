//! The end of a push: its last lines, then its verdict.
//!
//! The verdict is what makes the end final, so it is written after the lines. Whatever stops the
//! controller between the end of a deployment and its verdict, the next pass finds the deployment
//! untold and tells it.

use anyhow::Context;
use fairway_api::{apps::AppRef, build_orders::PushVerdict, ids::BuildId, phases::Phase};
use fairway_scheduler::snapshot::DeploymentState;

use super::output;
use crate::{
    state::AppState,
    store::{
        StoreError, apps, builds,
        columns::now,
        deployments::{self, DeploymentRow},
        releases,
    },
};

/// Tells the pushers of all deployments that have ended.
pub(crate) async fn tell_pushers(state: &AppState) -> anyhow::Result<()> {
    let untold = {
        let mut tx = state.store.read().await?;
        deployments::untold(&mut tx).await?
    };
    for deployment in untold {
        let Some(build) = deployment.build else {
            continue;
        };
        tell(state, build, &deployment)
            .await
            .with_context(|| format!("tell how build {build} ended"))?;
    }
    Ok(())
}

async fn tell(state: &AppState, build: BuildId, deployment: &DeploymentRow) -> anyhow::Result<()> {
    let Some((lines, verdict)) = ending(state, deployment).await? else {
        return Ok(());
    };
    // Output that cannot be written must not keep the push from ending.
    if let Err(error) = state.build_output.append(build, lines).await {
        tracing::error!(%build, "cannot write the end of a build's output: {error:#}");
    }
    let mut tx = state.store.write().await?;
    builds::set_verdict(&mut tx, build, &verdict, now()).await?;
    tx.commit().await?;
    state.push_ended(build);
    let took = (now() - deployment.updated_at).to_std();
    Phase::Verdict.log(build, took.unwrap_or_default());
    Ok(())
}

/// The last lines and the verdict; nothing for a deployment that goes on.
async fn ending(
    state: &AppState,
    deployment: &DeploymentRow,
) -> Result<Option<(String, PushVerdict)>, StoreError> {
    let mut tx = state.store.read().await?;
    let release = releases::get(&mut tx, deployment.release).await?;
    let app = apps::get(&mut tx, deployment.app).await?;
    let version = release.version;
    Ok(Some(match &deployment.state {
        // Whatever came later: it was live.
        DeploymentState::Succeeded
        | DeploymentState::Baking { .. }
        | DeploymentState::Reverted { .. } => {
            let lines = output::released(version, &web_url(state, &app.app()));
            (
                lines,
                PushVerdict::Released {
                    release: release.id,
                    version,
                },
            )
        }
        DeploymentState::Failed { failure } => {
            let serving = match app.current_release {
                Some(id) => Some(releases::get(&mut tx, id).await?),
                None => None,
            };
            let serving = serving.filter(|it| it.image.is_some()).map(|it| it.version);
            let reason = format!("Release v{version} failed: {}", failure.reason);
            (
                output::failed(version, failure, serving),
                PushVerdict::Failed { reason },
            )
        }
        DeploymentState::Superseded { by } => {
            let reason = format!("Release v{version} was superseded by v{by}");
            (
                output::superseded(version, *by),
                PushVerdict::Failed { reason },
            )
        }
        _ => return Ok(None),
    }))
}

/// Where the app answers.
fn web_url(state: &AppState, app: &AppRef) -> String {
    let (base, port) = (&state.config.base_domain, state.config.router_http_port);
    match port {
        80 => format!("http://{}.{base}", app.name),
        _ => format!("http://{}.{base}:{port}", app.name),
    }
}
