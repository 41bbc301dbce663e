//! What makes this machine a node: its certificate and key, whom it trusts, where the controller is.
//! One file, readable by its owner only, replaced as a whole.

mod join;
mod keep;

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use fairway_api::{
    client::{Client, ClientCertificate, PinnedError, Trust},
    ids::{ClusterId, NodeId},
    names::NodeName,
};
use serde::{Deserialize, Serialize};

use crate::facts::Description;

pub use join::{Invitation, JoinError, join};
pub use keep::follow_certificate;
pub(crate) use keep::keep_certificate;

/// The file's name in the agent's directory.
const FILE: &str = "membership.json";

/// A machine's place in a cluster, as on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Membership {
    pub cluster: ClusterId,
    pub node: NodeId,
    pub name: NodeName,
    /// Labels every container and network of this agent; differs from that of any other on the
    /// same engine.
    pub instance: String,
    /// What was said of the machine when it joined, so that a service need not say it again.
    #[serde(default)]
    pub described: Description,
    /// Where controllers are, as HOST:PORT: first the one it joined through.
    pub controllers: Vec<String>,
    /// The cluster's certificate authority in PEM.
    pub authority: String,
    /// This machine's certificate in PEM.
    pub certificate: String,
    /// Its key in PEM. It never leaves this machine.
    key: String,
    /// When the certificate was asked for, by this machine's clock.
    pub issued_at: DateTime<Utc>,
    /// When it ends.
    pub ends_at: DateTime<Utc>,
}

/// Why a machine's membership cannot be had from its directory.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    #[error(
        "this machine is in no cluster: {} is missing. Let it join with the command that \
         `fairway node token` prints on the controller's machine", path.display()
    )]
    Missing { path: PathBuf },
    #[error("cannot read or write {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is damaged; let the machine join again with a new token", path.display())]
    Damaged {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("the certificate of this machine cannot be used; let it join again with a new token")]
    Certificate(#[source] PinnedError),
}

impl Membership {
    /// Reads it from the agent's directory.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn load(dir: &Path) -> Result<Self, MembershipError> {
        let path = dir.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(MembershipError::Missing { path });
            }
            Err(source) => return Err(MembershipError::File { path, source }),
        };
        serde_json::from_slice(&text).map_err(|source| MembershipError::Damaged { path, source })
    }

    /// Replaces it. A crash leaves the old one or the new one.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), MembershipError> {
        let path = dir.join(FILE);
        let write = || -> io::Result<()> {
            let text = serde_json::to_vec_pretty(self)?;
            let fresh = path.with_extension("new");
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&fresh)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)
        };
        write().map_err(|source| MembershipError::File { path, source })
    }

    /// A client of this machine's controllers, and the certificate that it shows.
    ///
    /// # Errors
    /// When certificate, key or authority cannot be used.
    pub fn client(&self) -> Result<(Client, Arc<ClientCertificate>), MembershipError> {
        let certificate = Arc::new(ClientCertificate::default());
        certificate
            .set(&self.certificate, &self.key)
            .map_err(MembershipError::Certificate)?;
        let trust = Trust::Authority(self.authority.clone());
        let client = Client::pinned(self.controllers.clone(), &trust, Arc::clone(&certificate))
            .map_err(MembershipError::Certificate)?;
        Ok((client, certificate))
    }
}
