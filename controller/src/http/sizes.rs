//! Sizes of pods: the Platform API's `dyno-size`.

use axum::{Json, Router, routing::get};
use fairway_api::sizes::{self, Size};
use serde::Serialize;
use uuid::Uuid;

use super::extract::Id;
use crate::problem::{Answer, Problem};
use crate::state::AppState;

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .route("/dyno-sizes", get(list))
        .route("/dyno-sizes/{id}", get(info))
}

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// A size with what Heroku's clients look for.
#[derive(Serialize)]
struct DynoSize {
    id: Uuid,
    #[serde(flatten)]
    size: Size,
    /// Shares of CPU time relative to the smallest, as Heroku counts them.
    compute: u32,
    /// In GiB.
    memory: f64,
    dedicated: bool,
    cost: Option<()>,
    architecture: &'static str,
    generation: Generation,
}

#[derive(Serialize)]
struct Generation {
    id: Uuid,
    name: &'static str,
}

fn all() -> Vec<DynoSize> {
    let numbered = (1_u128..).zip(sizes::all());
    numbered.map(|(number, size)| shown(number, size)).collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a memory size in GiB needs no more than 52 bits"
)]
fn shown(number: u128, size: Size) -> DynoSize {
    DynoSize {
        // Fixed, so that a client may remember it.
        id: Uuid::from_u128(0x5126_0000 + number),
        compute: size.resources.cpu_millis / 250,
        memory: size.resources.memory_bytes as f64 / GIB,
        dedicated: false,
        cost: None,
        architecture: "amd64",
        generation: Generation {
            id: Uuid::from_u128(3),
            name: "fairway",
        },
        size,
    }
}

async fn list() -> Json<Vec<DynoSize>> {
    Json(all())
}

async fn info(Id(which): Id) -> Answer<Json<DynoSize>> {
    let found = all().into_iter().find(|size| {
        size.size.name.as_str().eq_ignore_ascii_case(&which) || size.id.to_string() == which
    });
    found.map(Json).ok_or_else(|| Problem::not_found("size"))
}
