//! How a machine becomes a node: the join token, and what is said over the cluster port.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    ids::{ClusterId, NodeId},
    machines::NodeFacts,
    names::NodeName,
    secret::Secret,
};

/// The name in every controller's certificate. Clients ask for this name and not for the one they
/// dialled, so that a controller's address may change.
pub const CONTROLLER_NAME: &str = "controller.fairway.internal";
/// The cluster port unless told otherwise.
pub const CLUSTER_PORT_DEFAULT: u16 = 7001;
/// What a connection to the registry asks to be upgraded to.
pub const TUNNEL_PROTOCOL: &str = "fairway-tunnel";
/// Where it asks.
pub const TUNNEL_PATH: &str = "/internal/registry-tunnel";

/// In front of every join token, so that scanners for leaked secrets can know it.
const PREFIX: &str = "fwj_";
/// Random bytes in a token.
const SECRET_BYTES: usize = 32;
/// Bytes of the digest of the cluster's certificate authority.
const PIN_BYTES: usize = 32;
/// Bytes that tell a token that was copied wrong from one that is unknown.
const CHECK_BYTES: usize = 4;

/// SHA-256 of a certificate in DER.
pub type CertificateDigest = [u8; PIN_BYTES];

/// The digest by which a certificate authority is pinned.
pub fn certificate_digest(der: &[u8]) -> CertificateDigest {
    Sha256::digest(der).into()
}

/// What lets one machine join one cluster: a secret that the controller knows by its hash, and the
/// digest of the cluster's certificate authority, so that the machine knows the controller.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    secret: [u8; SECRET_BYTES],
    pin: CertificateDigest,
}

/// A text that is no join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    #[error("this is no join token: those begin with {PREFIX}")]
    Form,
    #[error(
        "the join token is not whole; copy it again from where `fairway node token` printed it"
    )]
    Damaged,
}

impl JoinToken {
    /// A token of this secret for the cluster with this authority.
    pub fn new(secret: [u8; SECRET_BYTES], pin: CertificateDigest) -> Self {
        Self { secret, pin }
    }

    /// The digest of the cluster's certificate authority.
    pub fn pin(&self) -> &CertificateDigest {
        &self.pin
    }

    /// What the controller keeps of it, in hexadecimal.
    pub fn hash(&self) -> String {
        let digest: [u8; 32] = Sha256::digest(self.secret).into();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The token as text, to be shown once.
    pub fn reveal(&self) -> Secret {
        let mut bytes = [self.secret, self.pin].concat();
        let check: [u8; 32] = Sha256::digest(&bytes).into();
        bytes.extend(&check[..CHECK_BYTES]);
        Secret::new(format!("{PREFIX}{}", BASE64.encode(bytes)))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken([secret])")
    }
}

impl FromStr for JoinToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim().strip_prefix(PREFIX).ok_or(InvalidToken::Form)?;
        let bytes = BASE64.decode(text).map_err(|_| InvalidToken::Damaged)?;
        let (secret, rest) = bytes
            .split_first_chunk::<SECRET_BYTES>()
            .ok_or(InvalidToken::Damaged)?;
        let (pin, check) = rest
            .split_first_chunk::<PIN_BYTES>()
            .ok_or(InvalidToken::Damaged)?;
        let token = Self {
            secret: *secret,
            pin: *pin,
        };
        let digest: [u8; 32] = Sha256::digest([*secret, *pin].concat()).into();
        if check == &digest[..CHECK_BYTES] {
            Ok(token)
        } else {
            Err(InvalidToken::Damaged)
        }
    }
}

/// `POST /join` on the cluster port.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinRequest {
    pub token: Secret,
    pub name: NodeName,
    /// A certificate signing request in PEM; of it only the public key counts.
    pub csr: String,
    /// The machine joined before under this id and wants to keep name and pods.
    #[serde(default)]
    pub rejoin: Option<NodeId>,
    pub facts: NodeFacts,
}

/// A machine's place in the cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Joined {
    pub cluster: ClusterId,
    pub node: NodeId,
    pub name: NodeName,
    #[serde(flatten)]
    pub certificate: IssuedCertificate,
}

/// `POST /internal/nodes/{node}/certificate`: a new certificate for the key of this request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CertificateRequest {
    /// In PEM.
    pub csr: String,
}

/// A certificate and what it is used with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IssuedCertificate {
    /// In PEM.
    pub certificate: String,
    /// How long it counts from now on, in seconds: clocks differ, lengths do not.
    pub life_secs: u32,
    /// The cluster's certificate authority in PEM.
    pub authority: String,
    /// Where controllers are reached, as HOST:PORT.
    pub controllers: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_being_written_and_says_when_it_did_not() {
        let token = JoinToken::new([7; 32], [9; 32]);
        let text = token.reveal().expose().to_owned();
        assert_eq!(text.parse::<JoinToken>().unwrap(), token);
        assert_eq!(format!(" {text}\n").parse::<JoinToken>().unwrap(), token);
        assert_eq!(format!("{token:?}"), "JoinToken([secret])");
        let shorter = &text[..text.len() - 1];
        let other = text.replacen("fwj_B", "fwj_C", 1);
        assert_ne!(other, text);
        for (text, error) in [
            ("", InvalidToken::Form),
            ("fw_abc", InvalidToken::Form),
            ("fwj_", InvalidToken::Damaged),
            ("fwj_%%%", InvalidToken::Damaged),
            (shorter, InvalidToken::Damaged),
            (&other, InvalidToken::Damaged),
        ] {
            assert_eq!(text.parse::<JoinToken>(), Err(error), "{text}");
        }
    }
}
