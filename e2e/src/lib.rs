//! What the end-to-end tests stand on: a whole platform started as a user starts it, and the real
//! git, curl and engine beside it.

mod joined;
mod leftovers;
mod load;
mod machines;
mod nat;
mod platform;
mod power;
mod repository;

pub use joined::{JoinedNode, PodContainer, change_json};
pub use load::Load;
pub use machines::{Machine, Machines};
pub use nat::Nat;
pub use platform::{Platform, eventually};
pub use repository::{Pushed, Repository};
