//! `fairway node`: join a cluster, and run the agent of a machine that has joined.

use std::{net::IpAddr, path::PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use fairway_api::{
    disk::DiskReserve,
    names::{HostPath, LabelKey, LabelValue, NodeName},
    placement::{Labels, NodeKind, ZONE_LABEL},
    secret::Secret,
};
use fairway_node::{
    Agent, DOCKER_SOCKET_DEFAULT, Description, Invitation, Membership, address_towards, join,
};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster_address::checked_address,
    identity::{random_hex, write_private},
    machine::this_machine,
};

/// Where an agent keeps its certificate and its last orders unless told otherwise.
const DATA_DEFAULT: &str = "/var/lib/fairway-node";
/// Bytes of randomness in the label of an agent's containers; it only has to differ on one machine.
const INSTANCE_BYTES: usize = 4;

/// `fairway node ...`
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Let this machine join a cluster, and run its agent
    #[command(after_help = "Examples:
  fairway node join 10.0.0.1:7001 --token fwj_...   (as printed by: fairway node token)
  fairway node join 10.0.0.1:7001 --token fwj_... --zone eu-1 --label disk=ssd --no-run")]
    Join(JoinArgs),
    /// Run the agent of a machine that has joined
    Run(RunArgs),
    /// Print the one command with which a machine joins (on the controller's machine)
    Token,
}

/// Flags of `fairway node join`.
#[derive(Debug, Clone, Args)]
pub struct JoinArgs {
    /// Where the controller's cluster port is
    #[arg(value_name = "HOST:PORT")]
    controller: String,
    /// What `fairway node token` printed
    #[arg(
        long,
        env = "FAIRWAY_JOIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    token: String,
    /// The name of this machine in the cluster [default: its hostname]
    #[arg(long, value_name = "NAME")]
    name: Option<NodeName>,
    /// Come back as the node that this machine was, after its certificate has ended
    #[arg(long)]
    rejoin: bool,
    /// Join only; start the agent later with `fairway node run`
    #[arg(long)]
    no_run: bool,
    #[command(flatten)]
    run: RunArgs,
}

/// Flags of `fairway node run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Keep the certificate and the last orders here
    #[arg(long, env = "FAIRWAY_NODE_DATA", value_name = "DIR", default_value = DATA_DEFAULT)]
    data: PathBuf,
    /// The container engine's socket
    #[arg(long, value_name = "PATH", default_value = DOCKER_SOCKET_DEFAULT)]
    engine: PathBuf,
    /// A label of this machine; operators may change it later. May be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(LabelKey, LabelValue)>,
    /// The zone that this machine is in: what fails together
    #[arg(long, value_name = "ZONE")]
    zone: Option<LabelValue>,
    /// What this machine is, vm or bare-metal [default: found out]
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<NodeKind>,
    /// How much of the disk stays free, as 5% or 4GiB; 0 for no watch over it [default: 5%, at most 2GiB]
    #[arg(long, value_name = "AMOUNT")]
    disk_reserve: Option<DiskReserve>,
    /// A directory of this machine that volumes of apps may be in. May be given several times
    #[arg(long = "allow-host-path", value_name = "DIR")]
    host_paths: Vec<HostPath>,
    /// Where other machines reach this one [default: the address it uses towards the controller]
    #[arg(long, value_name = "ADDRESS")]
    underlay: Option<IpAddr>,
}

fn label(text: &str) -> Result<(LabelKey, LabelValue), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    let key = key.parse().map_err(|error| format!("{error}"))?;
    let value = value.parse().map_err(|error| format!("{error}"))?;
    Ok((key, value))
}

fn kind(text: &str) -> Result<NodeKind, &'static str> {
    match text {
        "vm" => Ok(NodeKind::Vm),
        "bare-metal" => Ok(NodeKind::BareMetal),
        _ => Err("write vm or bare-metal"),
    }
}

impl NodeCommand {
    /// Runs it until it is done, or until `shutdown`.
    ///
    /// # Errors
    /// When the machine cannot join, is in no cluster, or was removed from it.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        match self {
            Self::Join(args) => args.run(shutdown).await,
            Self::Run(args) => args.run(shutdown).await,
            Self::Token => anyhow::bail!("this verb stands alone: fairway node token"),
        }
    }
}

impl JoinArgs {
    async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let controller = checked_address(self.controller)?;
        let invitation = Invitation {
            token: Secret::new(self.token.trim()),
            name: self.name.unwrap_or_else(this_machine),
            rejoin: self.rejoin,
            description: self.run.description(),
            instance: random_hex::<INSTANCE_BYTES>(),
            controller,
        };
        let joining = join(&self.run.data, invitation);
        let Some(joined) = shutdown.run_until_cancelled(joining).await else {
            return Ok(());
        };
        let membership = joined?;
        // For scripts that look after the agent's containers.
        write_private(&self.run.data.join("instance"), &membership.instance)?;
        tracing::info!(name = %membership.name, cluster = %membership.cluster, "joined the cluster");
        if self.no_run {
            return Ok(());
        }
        self.run.run(shutdown).await
    }
}

impl RunArgs {
    /// Runs the agent until `shutdown`. Its pods go on running.
    async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let membership = Membership::load(&self.data)?;
        let (client, certificate) = membership.client()?;
        let controller = membership.controllers.first();
        let controller = controller.context("the machine's membership names no controller")?;
        let description = self.description().over(membership.described.clone());
        let agent = Agent::bind(fairway_node::Config {
            node: membership.name.clone(),
            instance: membership.instance.clone(),
            data_dir: self.data.clone(),
            client,
            docker_socket: self.engine.clone(),
            underlay: match description.underlay {
                Some(address) => Some(address),
                // The controller's name leads nowhere; its address does.
                None => address_towards(controller).await,
            },
            disk_reserve: self.disk_reserve.unwrap_or_default(),
            description,
            membership: Some((membership, certificate)),
        })
        .await?;
        agent.run(shutdown).await
    }

    fn description(&self) -> Description {
        let mut labels: Labels = self.labels.iter().cloned().collect();
        if let Some(zone) = &self.zone {
            let key = ZONE_LABEL
                .parse()
                .expect("the label of zones is a valid key");
            labels.insert(key, zone.clone());
        }
        Description {
            labels,
            kind: self.kind,
            underlay: self.underlay,
            host_paths: self.host_paths.clone(),
        }
    }
}
