//! Ports of this computer that lead to a process: one connection of ours, one WebSocket, so that
//! each waits for its own reader and none for another's.

use std::net::Ipv4Addr;

use fairway_api::{
    client::{AttachControl, AttachFrame, Client, Side},
    sessions::Session as Opened,
};
use serde::Serialize;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{failure::Failure, output::Output};

/// A port here and the process's port that it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PortPair {
    /// 0 for any that is free.
    pub(crate) local: u16,
    pub(crate) remote: u16,
}

/// A port that is listened on.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) local: u16,
    pub(crate) remote: u16,
    listener: TcpListener,
}

/// The same for scripts.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    address: String,
    port: u16,
}

pub(crate) fn shown(listeners: &[Listening]) -> Vec<Shown> {
    let shown = |it: &Listening| Shown {
        address: format!("127.0.0.1:{}", it.local),
        port: it.remote,
    };
    listeners.iter().map(shown).collect()
}

/// Takes the ports, on loopback only: what they lead to is nobody else's business.
pub(crate) async fn listen(pairs: &[PortPair]) -> Result<Vec<Listening>, Failure> {
    let mut all = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let what = format!("listen on port {} of this computer", pair.local);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, pair.local)).await;
        let listener = listener.map_err(|error| {
            Failure::io(what)(error).with_hint(format!(
                "Take another one: app ps:forward 0:{}",
                pair.remote
            ))
        })?;
        let local = listener.local_addr().map_err(Failure::io("see the port"))?;
        all.push(Listening {
            local: local.port(),
            remote: pair.remote,
            listener,
        });
    }
    Ok(all)
}

/// Forwards until the process ends.
pub(crate) async fn run(
    client: Client,
    opened: Opened,
    listeners: Vec<Listening>,
    output: Output,
) -> Result<(), Failure> {
    let mut ports = JoinSet::new();
    for listening in listeners {
        ports.spawn(accept(
            client.clone(),
            opened.url.clone(),
            listening,
            output,
        ));
    }
    // Ends with the process; with it, all ports do.
    watch(&client, &opened).await
}

async fn accept(client: Client, url: String, listening: Listening, output: Output) {
    let url = format!("{url}&port={}", listening.remote);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listening.listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(carry(client.clone(), url.clone(), stream, output));
                }
                // Out of descriptors, most often: those that are open end some time.
                Err(error) => {
                    output.talk(format!("a connection was lost: {error}"));
                    drop(connections.join_next().await);
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(client: Client, url: String, stream: TcpStream, output: Output) {
    drop(stream.set_nodelay(true));
    let carried = async { client.attach(&url).await?.carry(stream, Side::User).await };
    match carried.await {
        Ok(None) => {}
        Ok(Some(reason)) => output.talk(reason),
        Err(error) => output.talk(Failure::from(error).message),
    }
}

async fn watch(client: &Client, opened: &Opened) -> Result<(), Failure> {
    let mut socket = client.attach(&opened.url).await?;
    let name = &opened.dyno.name;
    loop {
        match socket.receive().await {
            Ok(Some(AttachFrame::Control(AttachControl::Failed { reason }))) => {
                return Err(Failure::failed(reason));
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                return Err(Failure::failed(format!(
                    "the connection to {name} was lost"
                )));
            }
        }
    }
}
