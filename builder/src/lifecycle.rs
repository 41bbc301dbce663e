//! The Cloud Native Buildpacks lifecycle.

pub(crate) mod confined;
pub(crate) mod digest;
