//! What makes this installation itself: its instance id and the credentials that its roles use
//! among each other. Made at first start, kept in the data directory for its owner only.

use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use anyhow::Context;
use fairway_api::secret::Secret;
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Bytes of randomness in a role's token.
const TOKEN_BYTES: usize = 32;
/// Bytes of randomness in an instance id; it only has to differ on one machine.
const INSTANCE_BYTES: usize = 4;

/// Read from `identity.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Labels every container, network and volume that belongs to this installation.
    pub instance: String,
    pub builder_token: Secret,
    pub node_token: Secret,
    pub router_token: Secret,
    /// Password of the built-in registry's one user.
    pub registry_password: Secret,
}

impl Identity {
    /// Reads the identity of this data directory, or makes one.
    ///
    /// # Errors
    /// When the directory cannot be made or written, or the file was changed into something else.
    pub fn load_or_create(data: &Path) -> anyhow::Result<Self> {
        make_private_dir(data)?;
        let path = data.join("identity.toml");
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).with_context(|| {
                format!("{} is damaged; restore it from a backup", path.display())
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let identity = Self::generate();
                write_private(&path, &toml::to_string(&identity)?)?;
                // For scripts that look after the installation's containers.
                write_private(&data.join("instance"), &identity.instance)?;
                Ok(identity)
            }
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    fn generate() -> Self {
        Self {
            instance: random_hex::<INSTANCE_BYTES>(),
            builder_token: Secret::new(random_hex::<TOKEN_BYTES>()),
            node_token: Secret::new(random_hex::<TOKEN_BYTES>()),
            router_token: Secret::new(random_hex::<TOKEN_BYTES>()),
            registry_password: Secret::new(random_hex::<TOKEN_BYTES>()),
        }
    }
}

/// Random bytes in hexadecimal.
pub(crate) fn random_hex<const BYTES: usize>() -> String {
    hex::encode(rand::rng().random::<[u8; BYTES]>())
}

/// Makes a directory that only its owner may look into; an existing one is left as it is.
///
/// # Errors
/// When it cannot be made.
pub fn make_private_dir(path: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("make the directory {}", path.display()))
}

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
/// When it cannot be written.
pub fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_second_start_finds_the_identity_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let first = Identity::load_or_create(&data).unwrap();
        let second = Identity::load_or_create(&data).unwrap();
        assert_eq!(first.instance, second.instance);
        assert_eq!(first.node_token, second.node_token);
        let mode = fs::metadata(data.join("identity.toml"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_identity_is_an_error_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("identity.toml"), "instance = 5").unwrap();
        let error = Identity::load_or_create(dir.path()).unwrap_err();
        assert!(format!("{error:#}").contains("is damaged"), "{error:#}");
    }
}
