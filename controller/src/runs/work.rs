//! What a run does, as the database keeps it: under the master key, since a command line may hold a
//! secret. And from a run to what one of its pods is told.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use fairway_api::{
    ids::RunId,
    jobs::{
        RUN_COMPLETIONS_VARIABLE, RUN_INDEX_VARIABLE, RUN_NAME_VARIABLE, RUN_SCHEDULED_AT_VARIABLE,
    },
    names::ConfigName,
    secret::Secret,
};
use fairway_scheduler::jobs::Run;
use serde::{Deserialize, Serialize};

use crate::{
    deploy::one_off::OneOff,
    secrets::{Secrets, SecretsError},
    store::releases::ReleaseRow,
};

/// Command and extra environment of a run that somebody started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Work {
    pub command: String,
    pub env: BTreeMap<ConfigName, Secret>,
}

impl Work {
    /// For the database.
    pub fn seal(&self, secrets: &Secrets, run: RunId) -> String {
        let json = serde_json::to_vec(self).expect("a map with text keys is valid JSON");
        secrets.seal(&json, &context(run))
    }

    /// From the database.
    pub fn open(sealed: &str, secrets: &Secrets, run: RunId) -> Result<Self, SecretsError> {
        let json = secrets.open_sealed(sealed, &context(run))?;
        serde_json::from_slice(&json).map_err(|_| SecretsError::DoesNotOpen)
    }

    /// What a run does: what was sealed with it, else what its release says of its job.
    pub(crate) fn of(
        sealed: Option<&str>,
        secrets: &Secrets,
        run: RunId,
        job: Option<&str>,
        release: &ReleaseRow,
    ) -> Result<Option<Self>, SecretsError> {
        if let Some(sealed) = sealed {
            return Self::open(sealed, secrets, run).map(Some);
        }
        let cron = release.image.as_ref().map(|image| &image.cron);
        let job = job.and_then(|job| cron?.get(job));
        Ok(job.map(|job| Self {
            command: job.command.clone(),
            env: BTreeMap::new(),
        }))
    }

    /// What the pod of an index is told.
    pub(crate) fn for_pod(
        self,
        run: &Run,
        index: u32,
        scheduled_at: Option<DateTime<Utc>>,
    ) -> OneOff {
        let mut env = self.env;
        let mut set = |name: &str, value: String| {
            let name = name.parse().expect("the platform's names are valid");
            env.insert(name, Secret::new(value));
        };
        set(RUN_NAME_VARIABLE, run.name.clone());
        set(RUN_INDEX_VARIABLE, index.to_string());
        set(RUN_COMPLETIONS_VARIABLE, run.shape.completions.to_string());
        if let Some(at) = scheduled_at {
            let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
            set(RUN_SCHEDULED_AT_VARIABLE, at);
        }
        OneOff {
            command: self.command,
            env,
            attach: None,
            time_to_live_secs: run.shape.timeout_secs,
        }
    }
}

fn context(run: RunId) -> String {
    format!("run/{run}")
}
