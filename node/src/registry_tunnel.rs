//! The controller's built-in registry on this machine: images are named by an address on loopback,
//! and connections to it are carried to the controller over the cluster port. The engine needs no
//! settings for it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use fairway_api::client::Client;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::sleep,
};

use crate::plans::Orders;

/// Connections at once: an engine pulls a few layers of a few images at a time.
const CONNECTIONS_MAX: usize = 128;
/// Pause after the port could not be taken, in seconds.
const AGAIN_SECS: u64 = 10;

/// Offers the registry wherever the newest orders say it is, for ever.
pub(crate) async fn offer(client: Client, mut orders: watch::Receiver<Option<Arc<Orders>>>) {
    loop {
        let address = registry(&orders.borrow_and_update().clone());
        let offering = async {
            match address {
                Some(address) => listen(client.clone(), address).await,
                None => std::future::pending().await,
            }
        };
        let moved = orders.wait_for(|orders| registry(orders) != address);
        tokio::select! {
            () = offering => {}
            moved = moved => if moved.is_err() {
                return;
            },
        }
    }
}

/// The address on loopback; `None` for a registry that this machine reaches by itself.
fn registry(orders: &Option<Arc<Orders>>) -> Option<SocketAddr> {
    orders.as_ref()?.registry.loopback()
}

async fn listen(client: Client, address: SocketAddr) {
    let mut told = false;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && told => {}
            Err(error) => {
                told = true;
                tracing::warn!(
                    %address,
                    "cannot offer the cluster's registry here: {error}. Images are pulled from \
                     whatever listens there"
                );
            }
        }
        sleep(Duration::from_secs(AGAIN_SECS)).await;
    };
    serve(client, listener).await;
}

async fn serve(client: Client, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("cannot take a connection to the registry: {error}");
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let client = client.clone();
        tokio::spawn(async move {
            if let Err(error) = carry(&client, stream).await {
                tracing::warn!("a pull broke: {error:#}");
            }
            drop(place);
        });
    }
}

async fn carry(client: &Client, mut inside: TcpStream) -> anyhow::Result<()> {
    let tunnel = client.registry_tunnel().await;
    let mut tunnel = tunnel.context("reach the registry through the controller")?;
    // Either end may hang up as it likes.
    drop(copy_bidirectional(&mut inside, &mut tunnel).await);
    Ok(())
}
