//! What to say when the container engine cannot be reached. The node agent and the builder both
//! meet that, and an operator should read the same of both.

use std::{error::Error, io};

/// The kind of the first I/O error in a chain of causes.
pub fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<io::Error>() {
            return Some(found.kind());
        }
        cause = error.source();
    }
    None
}

/// What happened, why, and what to do next, in one sentence without a full stop.
///
/// ```
/// use std::io::ErrorKind;
/// let text = fairway_api::engine::away("/var/run/docker.sock", Some(ErrorKind::NotFound));
/// assert!(text.contains("systemctl start docker"));
/// ```
pub fn away(socket: &str, kind: Option<io::ErrorKind>) -> String {
    match kind {
        Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => format!(
            "the Docker engine is not running: nobody listens on {socket}; start it with \
             `systemctl start docker`, or with bin/up, which also installs it"
        ),
        Some(io::ErrorKind::PermissionDenied) => format!(
            "this user may not use the Docker engine: no permission on {socket}; run Fairway as \
             root, or add its user to the group that owns the socket"
        ),
        _ => format!(
            "the Docker engine on {socket} does not answer; `systemctl status docker` says how it \
             is, `systemctl restart docker` starts it anew"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::{away, io_kind};

    #[derive(Debug, thiserror::Error)]
    #[error("client error")]
    struct Outer(#[source] Error);

    #[test]
    fn the_cause_is_found_under_what_hides_it() {
        for (kind, says) in [
            (ErrorKind::NotFound, "is not running"),
            (ErrorKind::ConnectionRefused, "is not running"),
            (ErrorKind::PermissionDenied, "no permission on /sock"),
            (ErrorKind::ConnectionReset, "does not answer"),
        ] {
            let found = io_kind(&Outer(kind.into()));
            assert_eq!(found, Some(kind));
            let text = away("/sock", found);
            assert!(text.contains(says) && text.contains("/sock"), "{text}");
        }
        assert_eq!(io_kind(&std::fmt::Error), None);
    }
}
