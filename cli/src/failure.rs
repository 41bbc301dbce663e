//! Why a command failed, in words for the user, and the exit code that says so to a script.
//!
//! | code | kind |
//! |---|---|
//! | 0 | it worked |
//! | 1 | it failed |
//! | 2 | the command line is not right, or no app was chosen |
//! | 3 | the app, release, build ... does not exist |
//! | 4 | not logged in, or not allowed |
//! | 5 | the server cannot be reached or is not ready |

use std::{fmt, io};

use fairway_api::{
    client::{AttachSocketError, ClientError},
    error::ErrorId,
    names::InvalidName,
};

use crate::output;

/// What kind of failure it is; each has an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Failed,
    Usage,
    NotFound,
    NotAllowed,
    Unreachable,
    /// Whoever read our output has gone. Nobody is there to be told.
    OutputClosed,
}

impl Kind {
    /// The exit code. A closed output is no failure: `app apps | head -1` worked.
    fn exit_code(self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::NotAllowed => 4,
            Self::Unreachable => 5,
        }
    }
}

/// A failure with what the user can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Turns an I/O error into a failure to do `what`: `.map_err(Failure::io("read the key"))`.
    pub(crate) fn io(what: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::failed(format!("cannot {what}: {error}"))
    }

    /// Tells the user, on stderr, and gives the exit code.
    pub(crate) fn report(&self) -> u8 {
        if self.kind != Kind::OutputClosed {
            output::complain(&self.message, self.hint.as_deref());
        }
        self.kind.exit_code()
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Api(error) => {
                let kind = match error.id {
                    ErrorId::NotFound => Kind::NotFound,
                    ErrorId::Unauthorized | ErrorId::Forbidden | ErrorId::Removed => {
                        Kind::NotAllowed
                    }
                    ErrorId::Unavailable => Kind::Unreachable,
                    ErrorId::BadRequest
                    | ErrorId::Conflict
                    | ErrorId::InvalidParams
                    | ErrorId::RequestTooLarge
                    | ErrorId::RateLimit
                    | ErrorId::UpgradeRequired
                    | ErrorId::InternalServerError => Kind::Failed,
                };
                let hint = error.hint.or_else(|| match error.id {
                    ErrorId::Unauthorized => {
                        Some("Log in again: app login (or correct FAIRWAY_TOKEN)".into())
                    }
                    ErrorId::InternalServerError => {
                        Some("This is a fault of the server; its log says more.".into())
                    }
                    _ => None,
                });
                Self {
                    kind,
                    message: error.message,
                    hint,
                }
            }
            ClientError::Unreachable { url, source } => {
                let message = format!(
                    "cannot reach Fairway at {}: {}",
                    url.trim_end_matches('/'),
                    root_cause(&source)
                );
                Self::new(Kind::Unreachable, message)
                    .with_hint("Is it running? Start it with bin/up, or name another server: FAIRWAY_URL=https://... or app login URL")
            }
            ClientError::NotOurs { url, what } => Self::new(
                Kind::Unreachable,
                format!("{url} did not answer as Fairway: {what}"),
            )
            .with_hint("Is FAIRWAY_URL the address of Fairway's API (port 7000)?"),
        }
    }
}

impl From<AttachSocketError> for Failure {
    fn from(error: AttachSocketError) -> Self {
        let cause = root_cause(&error);
        Self::new(Kind::Unreachable, format!("{error}: {cause}"))
    }
}

impl From<InvalidName> for Failure {
    fn from(error: InvalidName) -> Self {
        Self::usage(error.to_string())
    }
}

/// The innermost reason: the layers of the HTTP client between it and us say nothing to a user.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
