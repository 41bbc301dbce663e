//! What the fake says of apps that were destroyed, and what it is told of repositories.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use fairway_api::{
    build_orders::{GiveUpApp, RepositorySize},
    ids::AppId,
    nodes::LONG_POLL_SECS,
    wanted::{Notice, Wanted},
};
use serde::Deserialize;

use super::{Controller, WAIT};

pub(super) fn routes() -> Router<Controller> {
    Router::new()
        .route("/internal/wanted", get(wanted))
        .route("/internal/wanted/notice", get(notice))
        .route("/internal/git/give-up", post(give_up))
        .route("/internal/git/size", post(size))
}

async fn give_up(
    State(controller): State<Controller>,
    Json(GiveUpApp { app }): Json<GiveUpApp>,
) -> StatusCode {
    controller.change(|state| {
        state.apps.retain(|_, id| *id != app);
        state.given_up += 1;
    });
    StatusCode::NO_CONTENT
}

impl Controller {
    pub(crate) fn has(&self, app: &str) -> bool {
        self.state().apps.contains_key(app)
    }

    /// How many apps the builder has given up.
    pub(crate) fn given_up(&self) -> usize {
        self.state().given_up
    }

    /// Waits until there is no app of this name.
    pub(crate) async fn gone(&self, app: &str) {
        let mut changes = self.shared.changed.subscribe();
        let wait = async {
            while self.state().apps.contains_key(app) {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(WAIT, wait)
            .await
            .expect("the app is given up");
    }

    /// From now on the app is said to be destroyed.
    pub(crate) fn destroy(&self, app: AppId) {
        self.change(|state| state.wanted.destroyed.insert(app));
    }

    /// Waits until a size of the app's repository was told.
    pub(crate) async fn size(&self, app: AppId) -> u64 {
        let mut changes = self.shared.changed.subscribe();
        let wait = async {
            loop {
                let told = self.state().sizes.get(&app).copied();
                if let Some(bytes) = told {
                    return bytes;
                }
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(WAIT, wait)
            .await
            .expect("the size is told")
    }

    /// One more than there are destroyed apps.
    fn number(&self) -> u64 {
        1 + self.state().wanted.destroyed.len() as u64
    }
}

async fn wanted(State(controller): State<Controller>) -> Json<Wanted> {
    Json(controller.state().wanted.clone())
}

#[derive(Deserialize)]
struct Known {
    unlike: u64,
}

async fn notice(State(controller): State<Controller>, Query(known): Query<Known>) -> Response {
    let mut changes = controller.shared.changed.subscribe();
    let another = async {
        while controller.number() == known.unlike {
            changes.changed().await.unwrap();
        }
        controller.number()
    };
    match tokio::time::timeout(Duration::from_secs(LONG_POLL_SECS), another).await {
        Ok(number) => Json(Notice { number }).into_response(),
        Err(_) => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn size(
    State(controller): State<Controller>,
    Json(size): Json<RepositorySize>,
) -> StatusCode {
    controller.change(|state| state.sizes.insert(size.app, size.bytes));
    StatusCode::NO_CONTENT
}
