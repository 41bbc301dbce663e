//! The registry alone: `serve [registry] --data DIR --listen ADDRESS`.
//!
//! For measuring and trying; `fairway registry` is the real command, and takes the same words.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use fairway_registry::{Config, Registry};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut data = None;
    let mut listen: SocketAddr = ([127, 0, 0, 1], 5000).into();
    let mut words = std::env::args().skip(1).peekable();
    words.next_if(|word| word == "registry");
    while let Some(word) = words.next() {
        let value = words
            .next()
            .with_context(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--data" => data = Some(value),
            "--listen" => listen = value.parse().context("read --listen")?,
            _ => bail!("unknown option {word}"),
        }
    }
    let config = Config::new(data.context("--data DIR is missing")?, listen);
    Registry::bind(config)
        .await?
        .run(CancellationToken::new())
        .await
}
