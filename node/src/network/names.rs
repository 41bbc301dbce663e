//! What things are called on this machine: pure. Names that the kernel limits to 15 bytes carry a
//! number made from instance and subnet, so that neither two Fairways nor two subnets of one clash.

use fairway_api::network::{NetworkPlan, Subnet};

/// Every network device that an agent makes begins with this.
pub(crate) const DEVICE_PREFIX: &str = "fw";

/// Names for one instance with one subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// The engine's network.
    pub(crate) network: String,
    pub(crate) bridge: String,
    pub(crate) tunnel: String,
    /// The nft table; one per instance, whatever its subnet.
    pub(crate) table: String,
}

impl Names {
    pub(crate) fn new(instance: &str, plan: &NetworkPlan) -> Self {
        let number = number(instance, plan.subnet);
        let dashed = plan.subnet.first().to_string().replace('.', "-");
        Self {
            network: format!("{}-{dashed}", plain_network(instance)),
            bridge: format!("{DEVICE_PREFIX}b{number:08x}"),
            tunnel: format!("{DEVICE_PREFIX}v{number:08x}"),
            table: table(instance),
        }
    }
}

/// The network of pods that have no subnet of the pod network.
pub(crate) fn plain_network(instance: &str) -> String {
    format!("fairway-{instance}")
}

/// nft knows no dashes in names; instances have no underscores.
pub(crate) fn table(instance: &str) -> String {
    format!("fairway_{}", instance.replace('-', "_"))
}

/// FNV-1a: enough to tell a handful of names on one machine apart.
fn number(instance: &str, subnet: Subnet) -> u32 {
    let text = format!("{instance} {subnet}");
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
