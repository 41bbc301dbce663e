//! The cluster port: where machines reach the controller, with TLS both ways.
//!
//! It only brings connections to the routes of `http::cluster`, each with who is at its other end.

pub(crate) mod peer;
mod tls;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::peer::Peer;
use crate::{http, state::AppState, store::columns::now};

/// Connections at once: a few for each of five thousand machines, and room for their registry
/// tunnels.
const CONNECTIONS_MAX: usize = 50_000;
/// How long a connection may take until it has proven itself.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the head of a request may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a silent connection is asked whether it lives, and how long the answer may take.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(20));
/// Pause after the system refused a connection: it lacks files or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long calls may go on after a signal to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// Who is at the other end: an extension of every request.
#[derive(Debug, Clone)]
pub(crate) struct OtherEnd {
    pub(crate) address: SocketAddr,
    /// `None` without a certificate.
    pub(crate) peer: Option<Peer>,
}

/// Serves the cluster port until `shutdown`.
///
/// # Errors
/// When TLS cannot be set up.
pub(crate) async fn serve(
    state: AppState,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let acceptor = TlsAcceptor::from(Arc::new(tls::server_config(&state)?));
    let routes = http::cluster_router(state);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    while let Some((stream, address, place)) = next(&listener, &places, &shutdown).await {
        let (acceptor, routes, shutdown) = (acceptor.clone(), routes.clone(), shutdown.clone());
        connections.spawn(async move {
            match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => connection(stream, address, routes, shutdown).await,
                Ok(Err(error)) => tracing::warn!(%address, "refused a connection: {error}"),
                Err(_) => tracing::debug!(%address, "a connection said nothing"),
            }
            drop(place);
        });
    }
    connections.close();
    drop(timeout(DRAIN, connections.wait()).await);
    Ok(())
}

/// The next connection, when there is a place for it; `None` at the end.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let accepted = shutdown.run_until_cancelled(async {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, address)) => {
                    drop(stream.set_nodelay(true));
                    return Some((stream, address, place));
                }
                Err(error) => {
                    tracing::warn!("the cluster port cannot take a connection: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
    accepted.await.flatten()
}

async fn connection(
    stream: TlsStream<TcpStream>,
    address: SocketAddr,
    routes: Router,
    shutdown: CancellationToken,
) {
    let certificates = stream.get_ref().1.peer_certificates();
    let peer = certificates.and_then(|chain| peer::read(chain.first()?));
    // A connection must not outlive the certificate that it was opened with.
    let ends = peer.as_ref().map(|peer| (peer.until - now()).to_std());
    let ends = ends.map(Result::unwrap_or_default);
    let routes = routes.layer(axum::Extension(OtherEnd { address, peer }));
    let mut server = auto::Builder::new(TokioExecutor::new());
    server
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    let service = TowerToHyperService::new(routes);
    let served = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(served);
    let over = async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = async {
                match ends {
                    Some(ends) => sleep(ends).await,
                    None => std::future::pending().await,
                }
            } => {}
        }
    };
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = over => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, "a connection to the cluster port broke: {error}");
    }
}

#[cfg(test)]
mod tests;
