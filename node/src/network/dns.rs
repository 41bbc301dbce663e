//! The name server of this machine's pods, on their gateway.
//!
//! Names of the pod network are answered from the census, which outlives a dead controller;
//! everything else goes to the machine's own resolvers as it came, and their answer back as it is.
//! Each pod finds the names of its own app and of those that admit it.

mod answer;
mod forward;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use fairway_api::ids::AppId;
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

pub(super) use self::forward::Resolvers;
use self::{answer::Answer, forward::Way};
use super::census::Census;

const PORT: u16 = 53;
/// Questions that are being answered at once; one more is dropped, and its asker asks again.
const QUESTIONS_MAX: usize = 512;
/// Connections at once; one more is closed.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may be silent, in seconds.
const CONNECTION_IDLE_SECS: u64 = 10;
/// Bytes of a question over UDP; programs announce at most this much (RFC 6891 suggests 4096).
const DATAGRAM_BYTES_MAX: usize = 4096;
/// How long a pod that just started may be unknown, in milliseconds: it asks before the agent has
/// heard its address.
const STRANGER_MILLIS: u64 = 1_000;

/// Why there is no name server.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve names to pods on {address}; they use the machine's resolvers instead")]
pub(super) struct NoServer {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// A running name server; it ends when dropped.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    _datagrams: AbortOnDropHandle<()>,
    _connections: AbortOnDropHandle<()>,
}

struct Shared {
    census: watch::Receiver<Arc<Census>>,
    questions: Semaphore,
    connections: Semaphore,
}

impl Server {
    pub(super) async fn start(
        gateway: Ipv4Addr,
        census: watch::Receiver<Arc<Census>>,
    ) -> Result<Self, NoServer> {
        Self::start_at((gateway, PORT).into(), census).await
    }

    async fn start_at(
        address: SocketAddr,
        census: watch::Receiver<Arc<Census>>,
    ) -> Result<Self, NoServer> {
        let failed = |source| NoServer { address, source };
        let datagrams = UdpSocket::bind(address).await.map_err(failed)?;
        let address = datagrams.local_addr().map_err(failed)?;
        let connections = TcpListener::bind(address).await.map_err(failed)?;
        let shared = Arc::new(Shared {
            census,
            questions: Semaphore::new(QUESTIONS_MAX),
            connections: Semaphore::new(CONNECTIONS_MAX),
        });
        let serving = tokio::spawn(serve_datagrams(shared.clone(), Arc::new(datagrams)));
        let accepting = tokio::spawn(serve_connections(shared, connections));
        Ok(Self {
            address,
            _datagrams: AbortOnDropHandle::new(serving),
            _connections: AbortOnDropHandle::new(accepting),
        })
    }

    /// True if it listens on this gateway.
    pub(super) fn serves(&self, gateway: Ipv4Addr) -> bool {
        self.address.ip() == gateway
    }
}

async fn serve_datagrams(shared: Arc<Shared>, socket: Arc<UdpSocket>) {
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let Ok(question) = Message::from_vec(&buffer[..length]) else {
            continue;
        };
        let bytes = buffer[..length].to_vec();
        let (shared, socket) = (shared.clone(), socket.clone());
        tokio::spawn(async move {
            let Ok(_permit) = shared.questions.try_acquire() else {
                return;
            };
            if let Some(reply) = shared
                .reply(&question, &bytes, from.ip(), Way::Datagram)
                .await
            {
                drop(socket.send_to(&reply, from).await);
            }
        });
    }
}

async fn serve_connections(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let Ok((connection, from)) = listener.accept().await else {
            // Out of descriptors, most likely: others have to end first.
            tokio::time::sleep(Duration::from_millis(STRANGER_MILLIS)).await;
            continue;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            if let Ok(_permit) = shared.connections.try_acquire() {
                drop(shared.converse(connection, from.ip()).await);
            }
        });
    }
}

impl Shared {
    /// Answers what comes over one connection, one question after the other.
    async fn converse(&self, mut connection: TcpStream, from: IpAddr) -> io::Result<()> {
        loop {
            let idle = Duration::from_secs(CONNECTION_IDLE_SECS);
            let bytes = timeout(idle, read_message(&mut connection)).await??;
            let question = Message::from_vec(&bytes).map_err(io::Error::other)?;
            let reply = self.reply(&question, &bytes, from, Way::Connection).await;
            let Some(reply) = reply else { return Ok(()) };
            timeout(idle, write_message(&mut connection, &reply)).await??;
        }
    }

    /// `None` if there is nothing to say: it was no question.
    async fn reply(
        &self,
        question: &Message,
        bytes: &[u8],
        from: IpAddr,
        way: Way,
    ) -> Option<Vec<u8>> {
        if question.metadata.message_type != MessageType::Query {
            return None;
        }
        let asked = match question.queries.as_slice() {
            [asked] if question.metadata.op_code == OpCode::Query => asked,
            _ => return pack(&respond(question, ResponseCode::NotImp), question, way),
        };
        let asking = self.app_of(from).await;
        let answer = {
            let census = self.census.borrow();
            answer::answer(&census, asking, asked, usize::from(question.metadata.id))
        };
        let mut reply = respond(question, ResponseCode::NoError);
        reply.metadata.authoritative = true;
        match answer {
            Answer::Ours {
                answers,
                additionals,
            } => {
                reply.answers = answers;
                reply.additionals = additionals;
            }
            Answer::Missing => reply.metadata.response_code = ResponseCode::NXDomain,
            Answer::Alias { alias, target } => {
                reply.add_answer(*alias);
                let found = forward::look_up(target, asked.query_type(), way).await;
                match found {
                    Some(found) => {
                        reply.metadata.response_code = found.metadata.response_code;
                        reply.add_answers(found.answers);
                    }
                    None => reply.metadata.response_code = ResponseCode::ServFail,
                }
            }
            Answer::Elsewhere => {
                if let Some(theirs) = forward::forward(bytes, way).await {
                    return Some(theirs);
                }
                reply = respond(question, ResponseCode::ServFail);
            }
        }
        pack(&reply, question, way)
    }

    /// Whose pod asks. One that is not known yet is waited for.
    async fn app_of(&self, from: IpAddr) -> Option<AppId> {
        let IpAddr::V4(from) = from else { return None };
        let mut census = self.census.clone();
        let known = census.wait_for(|census| census.app_at(from).is_some());
        let known = timeout(Duration::from_millis(STRANGER_MILLIS), known).await;
        known.ok()?.ok()?.app_at(from)
    }
}

fn respond(question: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::response(question.metadata.id, question.metadata.op_code);
    reply.add_queries(question.queries.iter().cloned());
    reply.metadata.recursion_desired = question.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply
}

/// The reply as bytes; one too large for a datagram says so, and the asker comes by TCP.
fn pack(reply: &Message, question: &Message, way: Way) -> Option<Vec<u8>> {
    let bytes = reply.to_vec().ok()?;
    let fits = match way {
        Way::Datagram => usize::from(question.max_payload()),
        Way::Connection => usize::from(u16::MAX),
    };
    if bytes.len() <= fits {
        return Some(bytes);
    }
    reply.truncate().to_vec().ok()
}

async fn read_message(connection: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = connection.read_u16().await?;
    let mut bytes = vec![0; usize::from(length)];
    connection.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn write_message(connection: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    connection
        .write_all(&[&length.to_be_bytes(), bytes].concat())
        .await
}

#[cfg(test)]
mod tests;
