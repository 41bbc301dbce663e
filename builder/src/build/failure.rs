//! Why a build failed.

use crate::containers;

/// Why a build failed, in words for the user: what happened, why, and what to do next.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct BuildFailure {
    pub(crate) reason: String,
}

impl BuildFailure {
    /// The app's source or what it asks for is at fault.
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }

    /// Nobody wants it any more.
    pub(crate) fn cancelled() -> Self {
        Self::new("the build was cancelled")
    }

    /// Fairway or something that it needs is at fault. The whole chain goes to the log; the user
    /// gets it too, since on a team's own machines the user's next step is to pass it on.
    pub(crate) fn ours(error: &anyhow::Error) -> Self {
        tracing::error!("a build failed for a reason of its own: {error:#}");
        let engine = |cause: &(dyn std::error::Error + 'static)| {
            cause.downcast_ref().and_then(containers::away)
        };
        if let Some(away) = error.chain().find_map(engine) {
            return Self::new(format!(
                "the image cannot be built now: {away}; then push again"
            ));
        }
        Self::new(format!(
            "the builder could not do its work, which is not the app's fault: {error:#}; push \
             again, and show this to the operator if it persists"
        ))
    }
}

impl From<anyhow::Error> for BuildFailure {
    fn from(error: anyhow::Error) -> Self {
        Self::ours(&error)
    }
}
