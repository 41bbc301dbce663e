//! Settings of a controller, as whoever starts it hands them over.

use std::{path::PathBuf, time::Duration};

use fairway_api::{
    images::RegistryAccess,
    names::{AppName, BuilderName, Hostname, NodeName, RouterName},
    network::Subnet,
    secret::Secret,
};
use fairway_scheduler::policy::Policy;
use url::Url;

use crate::network::Choice;

/// Images kept per app unless the operator says otherwise: far enough back to leave a bad week
/// behind, and little beside what builds keep.
pub const IMAGES_KEPT_DEFAULT: usize = 10;

/// How long a machine may be silent unless the operator says otherwise, in seconds: two heartbeats,
/// so that one late report moves nothing.
pub const NODE_LOST_SECS_DEFAULT: u32 = 10;

/// Everything a controller has to be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder for the database, the master key, logs and build outputs. Made if it is missing.
    pub data_dir: PathBuf,
    /// Apps answer at `APP.` followed by this.
    pub base_domain: Hostname,
    /// Where users reach the API; the start of every URL it hands out.
    pub public_url: Url,
    /// Port of the routers' plain HTTP as users reach it; part of `web_url` unless it is 80.
    pub router_http_port: u16,
    /// Host of the git SSH server as users reach it.
    pub ssh_host: String,
    /// Its port; part of `git_ssh_url` unless it is 22.
    pub ssh_port: u16,
    /// The registry that builders push to and nodes pull from.
    pub registry: RegistryAccess,
    /// Where machines reach the cluster port, as HOST:PORT; empty without one.
    pub cluster_addresses: Vec<String>,
    /// One credential per part of the platform that calls the internal API.
    pub role_credentials: Vec<RoleCredential>,
    /// A push to an app that does not exist makes it.
    pub create_on_push: bool,
    /// The network of all pods; `None` takes one that the first machine has no route to. It cannot
    /// be changed once a machine has joined.
    pub pod_network: Option<Subnet>,
    /// UDP port of the tunnels between machines.
    pub vxlan_port: u16,
    /// The most bytes that one app's git repository may have.
    pub repository_bytes_max: u64,
    /// How pods are shared out over the machines.
    pub placement: Policy,
    /// How long a machine may be silent before it counts as lost; longer than a heartbeat.
    pub node_lost_after: Duration,
    /// How many different images that ran stay in the registry per app, for rollbacks; at least 1.
    pub images_kept: usize,
}

/// What a part of the platform is, and how it proves it.
#[derive(Debug, Clone)]
pub struct RoleCredential {
    pub role: Role,
    /// Its bearer token.
    pub token: Secret,
}

/// A part of the platform that calls the internal API, by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Role {
    Builder(BuilderName),
    Node(NodeName),
    Router(RouterName),
}

impl Config {
    /// What the operator decided of the pod network.
    pub fn network_choice(&self) -> Choice {
        Choice {
            pods: self.pod_network,
            vxlan_port: self.vxlan_port,
        }
    }

    /// Where an app answers.
    pub fn web_url(&self, app: &AppName) -> String {
        let port = match self.router_http_port {
            80 => String::new(),
            port => format!(":{port}"),
        };
        format!("http://{app}.{}{port}/", self.base_domain)
    }
}
