//! Settings of an agent.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use fairway_api::{
    client::{Client, ClientCertificate},
    disk::DiskReserve,
    names::NodeName,
};

use crate::{facts::Description, membership::Membership};

/// Where the Docker Engine listens unless told otherwise.
pub const DOCKER_SOCKET_DEFAULT: &str = "/var/run/docker.sock";

/// The longest instance name, in bytes: it is part of network and container names.
const INSTANCE_BYTES_MAX: usize = 32;

/// What an agent needs to know. How to reach the image registry comes with each plan.
#[derive(Debug)]
pub struct Config {
    /// The name of this machine in the cluster.
    pub node: NodeName,
    /// Tells apart several Fairways on one engine: lower-case letters, digits and dashes.
    /// Everything that the agent makes carries it in the label `dev.fairway.instance`.
    pub instance: String,
    /// The agent's own directory; made if missing, used by one agent at a time.
    pub data_dir: PathBuf,
    /// The controller, with this node's credential.
    pub client: Client,
    /// What the operator says of this machine.
    pub description: Description,
    /// Set for a machine that joined: its certificate, to be renewed. The registry's address is then
    /// one of the controller's machine, and is offered here through a tunnel.
    pub membership: Option<(Membership, Arc<ClientCertificate>)>,
    /// The engine's Unix socket, usually [`DOCKER_SOCKET_DEFAULT`].
    pub docker_socket: PathBuf,
    /// How much of the engine's file system, and of that of `data_dir`, is to stay free.
    pub disk_reserve: DiskReserve,
    /// The address by which other machines reach this one; `None` takes that which it uses towards
    /// the controller, or towards the world if the controller is on this machine.
    pub underlay: Option<IpAddr>,
}

impl Config {
    /// Refuses what would make bad names later.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let fits = !self.instance.is_empty()
            && self.instance.len() <= INSTANCE_BYTES_MAX
            && self
                .instance
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        anyhow::ensure!(
            fits,
            "the instance {:?} cannot be part of a container's name: use 1 to {INSTANCE_BYTES_MAX} \
             lower-case letters, digits and dashes",
            self.instance
        );
        Ok(())
    }
}
