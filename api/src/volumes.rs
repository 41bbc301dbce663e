//! Volumes: disks of apps that outlive pods and releases.

pub mod lease;
