//! Clients that write bytes as they please and read what comes back.

use std::{collections::BTreeMap, net::SocketAddr, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::edge::WAIT;

/// One answer as it came over the wire.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in lower case; several values are joined by a comma.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Reply {
    /// One header, empty if it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A raw connection.
pub(crate) struct Wire {
    pub(crate) stream: BufReader<TcpStream>,
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self {
            stream: BufReader::new(TcpStream::connect(address).await.unwrap()),
        }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .get_mut()
            .write_all(bytes.as_ref())
            .await
            .unwrap();
    }

    /// Reads a head; `None` at the end of the stream or if the connection was reset.
    pub(crate) async fn head(&mut self) -> Option<Reply> {
        let read = async {
            let status = self.line().await?;
            let status: u16 = status.split(' ').nth(1).unwrap().parse().unwrap();
            let mut headers = BTreeMap::<String, String>::new();
            loop {
                let line = self.line().await?;
                let Some((name, value)) = line.split_once(": ") else {
                    break;
                };
                headers
                    .entry(name.to_ascii_lowercase())
                    .and_modify(|all| *all = format!("{all}, {value}"))
                    .or_insert(value.into());
            }
            Some(Reply {
                status,
                headers,
                body: String::new(),
            })
        };
        timeout(WAIT, read).await.expect("an answer comes")
    }

    /// Reads an answer with a length or chunks; a head without either has no body.
    pub(crate) async fn reply(&mut self) -> Option<Reply> {
        let mut reply = self.head().await?;
        let mut body = Vec::new();
        if reply.header("transfer-encoding") == "chunked" {
            loop {
                let size = usize::from_str_radix(&self.line().await?, 16).unwrap();
                let mut chunk = vec![0; size];
                self.stream.read_exact(&mut chunk).await.ok()?;
                body.extend_from_slice(&chunk);
                if size == 0 {
                    while !self.line().await?.is_empty() {}
                    break;
                }
                self.line().await?;
            }
        } else if let Some(length) = reply.headers.get("content-length") {
            body.resize(length.parse().unwrap(), 0);
            timeout(WAIT, self.stream.read_exact(&mut body))
                .await
                .expect("the body comes")
                .ok()?;
        }
        reply.body = String::from_utf8(body).unwrap();
        Some(reply)
    }

    /// One line without its end; `None` at the end of the stream.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = timeout(WAIT, self.stream.read_line(&mut line))
            .await
            .expect("a line comes");
        match read {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
        }
    }

    /// Everything up to the end of the stream.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset is an end too.
        drop(
            timeout(WAIT, self.stream.read_to_end(&mut rest))
                .await
                .expect("the stream ends"),
        );
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// One request on a connection of its own.
pub(crate) async fn ask(address: SocketAddr, request: &str) -> Option<Reply> {
    let mut wire = Wire::connect(address).await;
    wire.send(request).await;
    wire.reply().await
}

/// `GET` on a connection of its own.
pub(crate) async fn get(address: SocketAddr, host: &str, path: &str) -> Reply {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    ask(address, &request).await.expect("an answer comes")
}

/// Runs the real curl against the router; gives back what it printed.
pub(crate) async fn curl(port: u16, path: &str, arguments: &[&str]) -> String {
    let output = tokio::process::Command::new("curl")
        .args([
            "-sS",
            "--max-time",
            "20",
            "--resolve",
            &format!("shop.localhost:{port}:127.0.0.1"),
        ])
        .args(arguments)
        .arg(format!("http://shop.localhost:{port}{path}"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}
