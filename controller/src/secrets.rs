//! Encryption at rest under the master key.
//!
//! A sealed text is `KEYID.BASE64(nonce | ciphertext)`. The key id says which line of the key file
//! opens it, so that a new key can be put in front and old texts stay readable. Every seal has a
//! *context* (`config/<app>/<version>`), which is not stored but must be the same to open it: a
//! ciphertext that was moved to another row, app or use does not open.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};

/// Bytes of a nonce; random ones of this length never repeat in practice.
const NONCE_BYTES: usize = 24;
/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Random bytes in the id of a key.
const KEY_ID_BYTES: usize = 4;

/// Why the master key could not be had or used.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    #[error("read or write the master key {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "the master key {} is missing although there is a database whose secrets it opens; put the \
         key back from your backup",
        path.display()
    )]
    Missing { path: PathBuf },
    #[error(
        "others than its owner may read the master key {}; run: chmod 600 {0}", path.display()
    )]
    Readable { path: PathBuf },
    #[error(
        "line {line} of the master key {} is damaged; put the file back from your backup",
        path.display()
    )]
    Damaged { path: PathBuf, line: usize },
    #[error("a secret was sealed with key {key_id:?}, which the master key file does not have")]
    UnknownKey { key_id: String },
    #[error("a secret does not open: it was changed, or moved from where it belongs")]
    DoesNotOpen,
}

/// The master key, ready to use.
pub struct Secrets {
    /// The first seals, all open.
    keys: Vec<Key>,
}

struct Key {
    id: String,
    cipher: XChaCha20Poly1305,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<_> = self.keys.iter().map(|key| &key.id).collect();
        f.debug_struct("Secrets").field("keys", &ids).finish()
    }
}

impl Secrets {
    /// Reads the key file. If there is none, makes one, but only when nothing can be sealed yet:
    /// with `database_exists` a missing key is an error, since a new one would open nothing.
    pub fn open(path: &Path, database_exists: bool) -> Result<Self, SecretsError> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
                return Err(SecretsError::Readable { path: path.into() });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && !database_exists => {
                create_key_file(path).map_err(|source| file_error(path, source))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SecretsError::Missing { path: path.into() });
            }
            Err(source) => return Err(file_error(path, source)),
        }
        let text = fs::read_to_string(path).map_err(|source| file_error(path, source))?;
        let damaged = |line| SecretsError::Damaged {
            path: path.into(),
            line,
        };
        let keys = text
            .lines()
            .enumerate()
            .map(|(index, line)| parse_key(line).ok_or_else(|| damaged(index + 1)))
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            Err(damaged(1))
        } else {
            Ok(Self { keys })
        }
    }

    /// Encrypts `plaintext` for `context`.
    pub fn seal(&self, plaintext: &[u8], context: &str) -> String {
        let key = &self.keys[0];
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let payload = Payload {
            msg: plaintext,
            aad: context.as_bytes(),
        };
        let ciphertext = key
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .expect("the cipher only refuses texts of more than 256 GiB");
        let mut sealed = nonce.to_vec();
        sealed.extend(ciphertext);
        format!("{}.{}", key.id, BASE64.encode(sealed))
    }

    /// Decrypts what [`Secrets::seal`] made for the same `context`.
    pub fn open_sealed(&self, sealed: &str, context: &str) -> Result<Vec<u8>, SecretsError> {
        let (key_id, body) = sealed.split_once('.').ok_or(SecretsError::DoesNotOpen)?;
        let key = self
            .keys
            .iter()
            .find(|key| key.id == key_id)
            .ok_or_else(|| SecretsError::UnknownKey {
                key_id: key_id.chars().take(16).collect(),
            })?;
        let body = BASE64.decode(body).map_err(|_| SecretsError::DoesNotOpen)?;
        let (nonce, ciphertext) = body
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(SecretsError::DoesNotOpen)?;
        let payload = Payload {
            msg: ciphertext,
            aad: context.as_bytes(),
        };
        key.cipher
            .decrypt(&XNonce::from(*nonce), payload)
            .map_err(|_| SecretsError::DoesNotOpen)
    }
}

fn file_error(path: &Path, source: io::Error) -> SecretsError {
    SecretsError::File {
        path: path.into(),
        source,
    }
}

fn parse_key(line: &str) -> Option<Key> {
    let (id, key) = line.split_once(' ')?;
    let key: [u8; KEY_BYTES] = BASE64.decode(key).ok()?.try_into().ok()?;
    let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| Key {
        id: id.into(),
        cipher: XChaCha20Poly1305::new(&key.into()),
    })
}

/// Writes a fresh key beside its place, makes sure that it is on disk, and renames it: a crash
/// leaves either no key or a whole one.
fn create_key_file(path: &Path) -> io::Result<()> {
    let id: [u8; KEY_ID_BYTES] = rand::random();
    let key: [u8; KEY_BYTES] = rand::random();
    let fresh = path.with_extension("new");
    // A leftover of a crash may have other permissions; only a new file gets ours.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    writeln!(file, "{} {}", hex::encode(id), BASE64.encode(key))?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
