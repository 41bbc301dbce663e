//! Identifiers: one type per entity, all UUID version 7, so that they sort by creation time.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh id. Reads the clock and the random source, so pure code takes ids as
            /// arguments instead of calling this.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id with this number; for tests and for pure code that is handed its ids.
            pub const fn from_u128(value: u128) -> Self {
                Self(Uuid::from_u128(value))
            }

            /// The underlying UUID.
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )+};
}

ids! {
    /// A person or robot with an account.
    UserId;
    /// A token of an account (an OAuth authorization of the Platform API).
    TokenId;
    /// A public SSH key of an account.
    KeyId;
    /// An app.
    AppId;
    /// One try to make an image.
    BuildId;
    /// A release of an app.
    ReleaseId;
    /// The move from one release to the next.
    DeploymentId;
    /// One replica (or one-off run) of a process type.
    PodId;
    /// One execution of a command beside the process types. That of a one-off pod has the number of
    /// its pod.
    RunId;
    /// A hostname claimed by an app.
    DomainId;
    /// A rule that lets one app's pods reach another's.
    AdmissionId;
    /// A row of the formation: one process type of one app.
    FormationId;
    /// Something that can be switched on for an app.
    FeatureId;
    /// An entry of the append-only record.
    EventId;
    /// A rendezvous between a person and a pod: a one-off pod's terminal, or a session.
    AttachId;
    /// A cluster: all machines under one controller.
    ClusterId;
    /// A machine that joined; one that joins again after it was removed is another.
    NodeId;
    /// A token that lets one machine join.
    NodeTokenId;
    /// An opened log stream.
    LogSessionId;
    /// A volume of an app.
    VolumeId;
    /// A copy of a volume.
    SnapshotId;
}
