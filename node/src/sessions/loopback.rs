//! Connections to what listens on a pod's own loopback: a thread enters the pod's network, connects
//! from there, and ends. The connection stays in that network, wherever it is used from.

use std::{
    fs::File,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream as StdStream},
    os::fd::AsFd as _,
    thread,
    time::Duration,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::{net::TcpStream, sync::oneshot};

use crate::engine::{Engine, Inspected};

/// How long a pod may take to accept a connection from itself, in seconds.
const CONNECT_SECS: u64 = 5;

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Loopback {
    /// Nobody listens.
    Refused,
    /// This agent cannot enter the pod's network: it is not root, or the engine is elsewhere.
    Closed(io::Error),
}

/// Connects to a port on the loopback of the network that a container is in.
pub(super) async fn connect(
    engine: &Engine,
    container: &str,
    port: u16,
) -> Result<TcpStream, Loopback> {
    let gone = || Loopback::Closed(io::Error::other("the container does not run"));
    let Ok(Inspected::Running { pid: Some(pid), .. }) = engine.inspect(container).await else {
        return Err(gone());
    };
    let network = File::open(format!("/proc/{pid}/ns/net")).map_err(Loopback::Closed)?;
    let (tell, told) = oneshot::channel();
    // A thread of its own, which is not used for anything else afterwards.
    let entering = thread::Builder::new().name("loopback".into());
    let entered = entering.spawn(move || drop(tell.send(connect_from(&network, port))));
    entered.map_err(Loopback::Closed)?;
    let stream = told.await.map_err(|_| gone())??;
    stream.set_nonblocking(true).map_err(Loopback::Closed)?;
    TcpStream::from_std(stream).map_err(Loopback::Closed)
}

fn connect_from(network: &File, port: u16) -> Result<StdStream, Loopback> {
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| Loopback::Closed(error.into()))?;
    let within = Duration::from_secs(CONNECT_SECS);
    let addresses = [
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
    ];
    let mut streams = addresses
        .iter()
        .filter_map(|address| StdStream::connect_timeout(address, within).ok());
    streams.next().ok_or(Loopback::Refused)
}
