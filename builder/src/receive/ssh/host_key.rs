//! The key by which clients recognise this server. Made once: another key would look to every
//! client like an attack.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;
use russh::keys::{Algorithm, PrivateKey, ssh_key::LineEnding};

/// Reads the key, or makes it if there is none. Blocks.
pub(super) fn load_or_make(path: &Path) -> anyhow::Result<PrivateKey> {
    match fs::read(path) {
        Ok(text) => PrivateKey::from_openssh(text)
            .with_context(|| format!("read the SSH host key in {}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(path).with_context(|| format!("make an SSH host key in {}", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

/// Written aside and moved into place: a half-written key would keep the server from starting.
fn make(path: &Path) -> anyhow::Result<PrivateKey> {
    let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519)?;
    let aside = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    file.write_all(key.to_openssh(LineEnding::LF)?.as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::load_or_make;

    #[test]
    fn made_once_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = load_or_make(&path).unwrap();
        assert_eq!(load_or_make(&path).unwrap().public_key(), made.public_key());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "garbage").unwrap();
        assert!(
            load_or_make(&path).is_err(),
            "a broken key is never replaced in silence"
        );
    }
}
