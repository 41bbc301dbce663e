//! Real builds: the real engine, a real registry, the example apps.

mod buildpacks;
mod dockerfile;
mod failures;
mod harness;
mod recovery;
mod sidecars;
