//! Questions about the rest of the world: to the machine's own resolvers and back.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_proto::{
    op::{Message, Query},
    rr::{Name, RecordType},
};
use tokio::{
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use super::{DATAGRAM_BYTES_MAX, PORT, read_message, write_message};

/// Where the machine's resolvers are named (resolv.conf(5)).
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How many of them are asked (the C library's own limit).
const SERVERS_MAX: usize = 3;
/// Domains after the app's own (older C libraries take six in all).
const SEARCH_MAX: usize = 5;
/// How long one resolver may take, in seconds: less than the five that askers wait.
const ANSWER_SECS: u64 = 2;

/// How a question came; it goes on the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Datagram,
    Connection,
}

/// The machine's resolvers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Resolvers {
    pub(crate) servers: Vec<IpAddr>,
    pub(crate) search: Vec<String>,
}

impl Resolvers {
    /// As they are now: networks and VPNs change them.
    pub(crate) fn of_machine() -> Self {
        Self::parse(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    found.servers.extend(server);
                }
                // Of several the last counts; a single `.` means none.
                Some("search" | "domain") => {
                    let domains = words.filter(|word| *word != ".").map(str::to_owned);
                    found.search = domains.take(SEARCH_MAX).collect();
                }
                _ => {}
            }
        }
        found.servers.truncate(SERVERS_MAX);
        found
    }
}

/// The first resolver's answer to a question as it came; `None` if all fail.
pub(super) async fn forward(question: &[u8], way: Way) -> Option<Vec<u8>> {
    for server in Resolvers::of_machine().servers {
        let server = (server, PORT).into();
        let asking = async {
            match way {
                Way::Datagram => by_datagram(question, server).await,
                Way::Connection => by_connection(question, server).await,
            }
        };
        match timeout(Duration::from_secs(ANSWER_SECS), asking).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => tracing::debug!(%server, "a resolver failed: {error}"),
            Err(_) => tracing::debug!(%server, "a resolver does not answer"),
        }
    }
    None
}

/// What a name stands for outside.
pub(super) async fn look_up(name: Name, kind: RecordType, way: Way) -> Option<Message> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name, kind));
    let answer = forward(&question.to_vec().ok()?, way).await?;
    Message::from_vec(&answer).ok()
}

async fn by_datagram(question: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let any: SocketAddr = if server.is_ipv4() {
        ([0; 4], 0).into()
    } else {
        ([0_u16; 8], 0).into()
    };
    // A port of its own, chosen by the kernel, and only packets from that server.
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // The first two bytes say which question is answered.
        if length > 2 && buffer[..2] == question[..2] {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn by_connection(question: &[u8], server: SocketAddr) -> io::Result<Vec<u8>> {
    let mut connection = TcpStream::connect(server).await?;
    write_message(&mut connection, question).await?;
    read_message(&mut connection).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_as_the_c_library_reads_them() {
        let text = "# made by hand\nsearch old.example\nnameserver 192.0.2.1\nnameserver nonsense\n\
                    nameserver fd00::1\nsearch corp.example lab.example\nnameserver 192.0.2.3\n\
                    nameserver 192.0.2.4\noptions ndots:2\n";
        let found = Resolvers::parse(text);
        let servers = ["192.0.2.1", "fd00::1", "192.0.2.3"].map(|it| it.parse::<IpAddr>().unwrap());
        assert_eq!(found.servers, servers);
        assert_eq!(found.search, ["corp.example", "lab.example"]);
        assert_eq!(Resolvers::parse("search .\n"), Resolvers::default());
    }
}
