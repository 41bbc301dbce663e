//! A running router with its controller, and tables for it.

use std::{net::SocketAddr, num::NonZeroUsize, time::Duration};

use fairway_api::{
    ids::{AppId, PodId},
    routes::{Endpoint, Route, RouteTable, Service},
};
use fairway_router::{Config, Router};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::controller::Controller;

/// How long a test waits for what must happen; only a failing test waits that long.
pub(crate) const WAIT: Duration = Duration::from_secs(20);

pub(crate) const SHOP: AppId = AppId::from_u128(1);

pub(crate) struct Edge {
    pub controller: Controller,
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) running: Option<JoinHandle<anyhow::Result<()>>>,
    pub(crate) data: tempfile::TempDir,
}

impl Edge {
    /// A router with this table in use.
    pub(crate) async fn with(routes: Vec<Route>) -> Self {
        let edge = Self::start(
            Controller::start().await,
            tempfile::tempdir().unwrap(),
            WAIT,
        )
        .await;
        edge.install(1, routes).await;
        edge
    }

    /// The same for an app `shop.localhost` with these pods.
    pub(crate) async fn shop(pods: &[(u128, SocketAddr)]) -> Self {
        Self::with(vec![shop(pods)]).await
    }

    pub(crate) async fn start(
        controller: Controller,
        data: tempfile::TempDir,
        drain: Duration,
    ) -> Self {
        let router = Router::bind(Config {
            name: "edge-1".parse().unwrap(),
            data_dir: data.path().to_owned(),
            client: controller.client(),
            listen_http: "127.0.0.1:0".parse().unwrap(),
            workers: NonZeroUsize::new(2),
            drain_deadline: drain,
        })
        .await
        .unwrap();
        let (address, stop) = (router.local_addr(), CancellationToken::new());
        let running = Some(tokio::spawn(router.run(stop.clone())));
        Self {
            controller,
            address,
            stop,
            running,
            data,
        }
    }

    /// Gives the router a table and waits until it says that it is in use.
    pub(crate) async fn install(&self, generation: u64, routes: Vec<Route>) {
        self.controller
            .state
            .table
            .send_replace(RouteTable { generation, routes });
        self.controller
            .report("with the new table", |report| {
                report.generation == generation
            })
            .await;
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Waits for the end of a router that was told to stop.
    pub(crate) async fn stopped(&mut self) {
        let running = self.running.take().unwrap();
        timeout(WAIT, running)
            .await
            .expect("the router stops")
            .unwrap()
            .unwrap();
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

pub(crate) fn pod(id: u128) -> PodId {
    PodId::from_u128(id)
}

/// The route of `shop.localhost` with these pods.
pub(crate) fn shop(pods: &[(u128, SocketAddr)]) -> Route {
    route(SHOP, "shop.localhost", "/", pods)
}

pub(crate) fn route(app: AppId, host: &str, path: &str, pods: &[(u128, SocketAddr)]) -> Route {
    let endpoints = pods
        .iter()
        .map(|(id, address)| Endpoint {
            pod: pod(*id),
            name: format!("web.{id}"),
            address: *address,
            affinity: None,
        })
        .collect();
    Route {
        hostname: host.parse().unwrap(),
        path: path.into(),
        service: Service {
            app,
            app_name: "shop".parse().unwrap(),
            process_type: "web".parse().unwrap(),
            maintenance: false,
            on_demand: false,
            endpoints,
            canary: None,
        },
    }
}
