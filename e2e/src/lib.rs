//! What the end-to-end tests stand on: a whole platform started as a user starts it, and the real
//! git, curl and engine beside it.

mod joined;
mod leftovers;
mod machines;
mod platform;
mod repository;

pub use joined::{JoinedNode, change_json};
pub use machines::{Machine, Machines};
pub use platform::{Platform, eventually};
pub use repository::{Pushed, Repository};
