//! An OCI distribution server (specification 1.1) over a directory on disk.
//!
//! It exists so that one machine needs no outside registry. It knows nothing of Fairway: apps,
//! releases and builds are not words here, and any OCI client may use it.
//!
//! What holds at every moment, also after SIGKILL or a power cut:
//!
//! - A file under `blobs/` has the content that its name says. It is written elsewhere, hashed on
//!   the way, synced, and only then renamed to its name.
//! - A manifest is visible only after everything it refers to is durable.
//! - A repository shows what was pushed or mounted to it, and nothing else, although all of them
//!   share one content store.
//! - An upload can be resumed where its file ends.
//!
//! ```text
//! request -> route (pure) -> http/* (stream, answer) -> store/* (blocking file work) -> disk
//! ```

mod config;
mod server;

mod document;
mod names;
mod ranges;
mod route;

mod error;
mod http;
mod store;

pub use config::{Config, Credentials};
pub use names::{Digest, ParseError, Repository};
pub use server::{Collector, Registry, router};
pub use store::collect::{Collect, Collected, Keep};
