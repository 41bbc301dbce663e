//! Who may reach whom on the pod network: rules between apps and names of things outside.

use std::net::Ipv4Addr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    apps::AppRef,
    ids::AdmissionId,
    names::{Hostname, ServiceName},
    network::ExternalTarget,
};

/// The most rules one app may have; each costs an entry in the packet filter of its machines.
pub const RULES_PER_APP_MAX: u32 = 100;
/// The most external names one app may have.
pub const EXTERNAL_NAMES_PER_APP_MAX: u32 = 100;
/// The most addresses of one external name.
pub const EXTERNAL_ADDRESSES_MAX: usize = 16;

/// `GET /apps/{app}/network`: pods of `from` may open connections to pods of `to`. The list has
/// those that name the app on either side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkRule {
    pub id: AdmissionId,
    pub from: AppRef,
    pub to: AppRef,
    /// TCP and UDP port; null for all.
    pub port: Option<u16>,
    pub created_at: DateTime<Utc>,
}

/// `POST /apps/{app}/network`: lets another app's pods in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewNetworkRule {
    /// Name or id of the other app.
    pub from: String,
    /// 1 to 65535; null for all.
    #[serde(default)]
    pub port: Option<u16>,
}

/// `GET /apps/{app}/external-names`: `NAME.APP.internal` stands for something outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalNameInfo {
    pub name: ServiceName,
    /// The whole name, as the app's pods find it.
    pub dns: String,
    #[serde(flatten)]
    pub target: ExternalTarget,
    pub created_at: DateTime<Utc>,
}

/// `PUT /apps/{app}/external-names/{name}`: exactly one of the two.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NewExternalName {
    pub hostname: Option<Hostname>,
    pub addresses: Vec<Ipv4Addr>,
}
