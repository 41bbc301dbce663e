//! A terminal and a pod find each other.

/// Where the two ends of attached terminals wait for each other.
#[derive(Debug, Default)]
pub struct Rendezvous;
