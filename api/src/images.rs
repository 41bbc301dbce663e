//! References to images, and how to reach the registry that holds them.

use std::{fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{names::Digest, secret::Secret};

/// An image pinned by digest: `registry/repository@sha256:...`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImageRef {
    /// `host:port` as the container engine resolves it.
    pub registry: String,
    /// Path in the registry, without tag: `apps/shop`.
    pub repository: String,
    /// Digest of the manifest.
    pub digest: Digest,
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.registry, self.repository, self.digest)
    }
}

/// A registry and the credentials for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryAccess {
    /// `host:port`.
    pub host: String,
    pub username: String,
    pub password: Secret,
    /// True for plain HTTP, which engines allow on loopback only.
    pub plain_http: bool,
}

impl RegistryAccess {
    /// Its address if it listens on loopback only: the built-in registry, as the controller's own
    /// machine sees it.
    pub fn loopback(&self) -> Option<SocketAddr> {
        let address: SocketAddr = self.host.parse().ok()?;
        (self.plain_http && address.ip().is_loopback()).then_some(address)
    }
}
