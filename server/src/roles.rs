//! One role at a time: the same parts that `up` runs, told by flags, or by what a machine got when
//! it joined, where the controller is and how to prove itself to it.

mod arguments;
mod controller;
mod node;
mod registry;
mod workers;

pub(crate) use arguments::{read_secret, registry_at};
pub use controller::ControllerArgs;
pub use node::{JoinArgs, NodeCommand, RunArgs};
pub use registry::RegistryArgs;
pub use workers::{BuilderArgs, RouterArgs};
