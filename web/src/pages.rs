//! The pages, one file each, in the order a person meets them.

mod account;
mod apps;
mod builds;
mod config_vars;
mod domains;
mod login;
mod logs;
mod overview;
mod releases;

use axum::{Router, routing::any};
use fairway_api::{apps::App, client::ClientError, names::AppName};

use crate::{Config, error::PageError, session::Session};

pub(crate) fn routes() -> Router<Config> {
    Router::new()
        .merge(login::routes())
        .merge(apps::routes())
        .merge(account::routes())
        .merge(overview::routes())
        .merge(releases::routes())
        .merge(builds::routes())
        .merge(config_vars::routes())
        .merge(domains::routes())
        .merge(logs::routes())
        .route("/dashboard/{*rest}", any(|| async { PageError::NotFound }))
}

/// What the frame of every page of one app shows.
#[derive(Debug)]
struct Frame {
    app: App,
    /// Which tab is open: the last part of its path.
    tab: &'static str,
}

impl Frame {
    async fn fetch(
        session: &Session,
        app: &AppName,
        tab: &'static str,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            app: session.client.app(app).await?,
            tab,
        })
    }

    fn tabs(&self) -> [(&'static str, &'static str); 6] {
        [
            ("", "Overview"),
            ("logs", "Logs"),
            ("releases", "Releases"),
            ("builds", "Builds"),
            ("config", "Config"),
            ("domains", "Domains"),
        ]
    }

    /// Where the page hears that something changed: the platform says so in the app's log.
    fn notice(&self) -> String {
        let app = &self.app.name;
        format!("/dashboard/apps/{app}/logs/stream?lines=0&source=fairway")
    }

    /// What the open tab is called.
    fn title(&self) -> &'static str {
        let open = self.tabs().into_iter().find(|(path, _)| *path == self.tab);
        open.map_or("", |(_, name)| name)
    }
}
