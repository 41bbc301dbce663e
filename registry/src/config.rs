//! The registry's settings.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

/// Largest blob by default, in bytes: beyond any layer that a machine would start quickly, and far
/// below what fills a disk by mistake.
const UPLOAD_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;

/// Free bytes left to the rest of the machine by default. The database and the container engine
/// usually share the disk, and both fail badly when it is full.
const DISK_RESERVE_BYTES: u64 = 1024 * 1024 * 1024;

/// How long an upload may lie untouched by default, in hours. A day lets a laptop that was closed
/// in the middle of a push go on the next morning.
const UPLOAD_IDLE_HOURS: u64 = 24;

/// What a registry needs to run.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory for everything the registry keeps. Created if missing; one process at a time.
    pub data_dir: PathBuf,
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Who may use the registry. `None` lets everybody in, which is fit for loopback only.
    pub access: Option<Credentials>,
    /// Largest blob that is accepted, in bytes.
    pub upload_bytes_max: u64,
    /// An upload that would leave less than this free on the disk is refused, in bytes.
    pub disk_reserve_bytes: u64,
    /// An upload that nobody touched for this long is removed.
    pub upload_idle_max: Duration,
}

impl Config {
    /// The defaults, for a directory and an address.
    pub fn new(data_dir: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self {
            data_dir: data_dir.into(),
            listen,
            access: None,
            upload_bytes_max: UPLOAD_BYTES_MAX,
            disk_reserve_bytes: DISK_RESERVE_BYTES,
            upload_idle_max: Duration::from_secs(UPLOAD_IDLE_HOURS * 60 * 60),
        }
    }
}

/// One user name and password; they open the whole registry.
#[derive(Clone)]
pub struct Credentials {
    /// User name as sent by HTTP Basic authentication; has no colon.
    pub username: String,
    /// Password. `Debug` hides it.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("password", &"[secret]")
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Credentials;

    #[test]
    fn debug_hides_the_password() {
        let credentials = Credentials {
            username: "builder".into(),
            password: "hunter2".into(),
        };
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
