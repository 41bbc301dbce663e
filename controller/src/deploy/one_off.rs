//! What only one-off pods have, as the database keeps it: under the master key, since a command
//! line and its environment may hold secrets.

use std::collections::BTreeMap;

use fairway_api::{ids::PodId, names::ConfigName, pods::Attach, secret::Secret};
use serde::{Deserialize, Serialize};

use crate::secrets::{Secrets, SecretsError};

/// The process type of one-off pods, a name and nothing more: their kind decides.
pub const ONE_OFF_TYPE: &str = "one-off";

/// What somebody asked to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneOff {
    /// As the user wrote it.
    pub command: String,
    /// Added to the app's environment.
    pub env: BTreeMap<ConfigName, Secret>,
    pub attach: Option<Attach>,
    pub time_to_live_secs: u32,
}

impl OneOff {
    /// For the database.
    pub fn seal(&self, secrets: &Secrets, pod: PodId) -> String {
        let json = serde_json::to_vec(self).expect("a map with text keys is valid JSON");
        secrets.seal(&json, &context(pod))
    }

    /// From the database.
    pub fn open(sealed: &str, secrets: &Secrets, pod: PodId) -> Result<Self, SecretsError> {
        let json = secrets.open_sealed(sealed, &context(pod))?;
        serde_json::from_slice(&json).map_err(|_| SecretsError::DoesNotOpen)
    }
}

fn context(pod: PodId) -> String {
    format!("one-off/{pod}")
}
