//! Who is at the other end of a connection, from its certificate. That the certificate is of this
//! cluster's authority and counts today, the handshake has checked.

use chrono::{DateTime, Utc};
use fairway_api::{
    ids::{ClusterId, NodeId},
    names::NodeName,
};
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

/// The machine that a certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) cluster: ClusterId,
    pub(crate) id: NodeId,
    pub(crate) name: NodeName,
    /// When its certificate ends.
    pub(crate) until: DateTime<Utc>,
}

/// Reads a certificate in DER; `None` for one that names no machine.
pub(crate) fn read(der: &[u8]) -> Option<Peer> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    let until = certificate.validity().not_after.timestamp();
    let names = certificate.subject_alternative_name().ok()??;
    let uri = names
        .value
        .general_names
        .iter()
        .find_map(|name| match name {
            GeneralName::URI(uri) => uri.strip_prefix("fairway://"),
            _ => None,
        })?;
    let mut parts = uri.split('/');
    let cluster = parts.next()?.parse().ok()?;
    if parts.next()? != "node" {
        return None;
    }
    let peer = Peer {
        cluster,
        id: parts.next()?.parse().ok()?,
        name: parts.next()?.parse().ok()?,
        until: DateTime::from_timestamp(until, 0)?,
    };
    parts.next().is_none().then_some(peer)
}
