//! One role at a time: the same parts that `up` runs, each told by flags where the controller is
//! and how to prove itself to it.

mod arguments;
mod controller;
mod registry;
mod workers;

pub use controller::ControllerArgs;
pub use registry::RegistryArgs;
pub use workers::{BuilderArgs, NodeArgs, RouterArgs};
