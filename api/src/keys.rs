//! Public SSH keys of an account (Platform API: `key`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{ids::KeyId, names::Email};

/// The most keys one account may have.
pub const KEYS_PER_ACCOUNT_MAX: u32 = 100;

/// `GET /account/keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub id: KeyId,
    /// `SHA256:` and the base64 digest, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// The whole public key line.
    pub public_key: String,
    pub comment: String,
    pub email: Email,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// `POST /account/keys`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewKey {
    /// One line of an `authorized_keys` file without options, at most 16 KiB.
    pub public_key: String,
}
