//! Public SSH keys: read from a line of an `authorized_keys` file, checked, fingerprinted.

use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::STANDARD_NO_PAD};
use fairway_api::{ids::KeyId, keys::KEYS_PER_ACCOUNT_MAX};
use sha2::{Digest, Sha256};

use crate::{
    auth::Caller,
    problem::{Answer, Problem, sentence},
    store::{
        Db,
        columns::now,
        events,
        keys::{self, KeyRow},
    },
};

/// The most bytes of a key line; an RSA key of 16384 bits fits twice.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// The most characters of a comment that are kept.
const COMMENT_CHARS_MAX: usize = 200;
/// Shorter RSA keys can be broken.
const RSA_BITS_MIN: usize = 2048;
/// Longer ones only cost time; OpenSSH stops here too.
const RSA_BITS_MAX: usize = 16_384;

/// A checked public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Type and base64, without the comment.
    pub key: String,
    pub comment: String,
    /// `SHA256:` and base64, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
}

/// Why a line is no key that can be used; each text ends with what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    #[error("this is a private key; send the public one, from the file that ends in .pub")]
    Private,
    #[error("the key is longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    #[error("send one key at a time, on one line")]
    ManyLines,
    #[error(
        "this does not look like a public SSH key; it should start with ssh-ed25519 or ssh-rsa"
    )]
    NoKey,
    #[error("keys of type {0} are not supported; make one with: ssh-keygen -t ed25519")]
    Unsupported(String),
    #[error("the key is damaged; copy the whole line again")]
    Damaged,
    #[error(
        "an RSA key must have {RSA_BITS_MIN} to {RSA_BITS_MAX} bits, this one has {0}; make one with: ssh-keygen -t ed25519"
    )]
    RsaBits(usize),
}

impl PublicKey {
    /// Reads `TYPE BASE64 [COMMENT]`.
    pub fn parse(line: &str) -> Result<Self, InvalidKey> {
        let line = line.trim();
        if line.contains("PRIVATE KEY") {
            return Err(InvalidKey::Private);
        }
        if line.len() > LINE_BYTES_MAX {
            return Err(InvalidKey::TooLong);
        }
        if line.contains(['\n', '\r']) {
            return Err(InvalidKey::ManyLines);
        }
        let mut words = line.splitn(3, [' ', '\t']).map(str::trim);
        let kind = words.next().unwrap_or_default();
        let (Some(body), comment) = (words.next(), words.next().unwrap_or_default()) else {
            return Err(InvalidKey::NoKey);
        };
        let looks_like_key =
            kind.starts_with("ssh-") || kind.starts_with("ecdsa-") || kind.starts_with("sk-");
        if !looks_like_key {
            return Err(InvalidKey::NoKey);
        }
        let blob = STANDARD.decode(body).map_err(|_| InvalidKey::Damaged)?;
        check_blob(kind, &blob)?;
        Ok(Self {
            key: format!("{kind} {body}"),
            comment: comment
                .chars()
                .filter(|c| !c.is_control())
                .take(COMMENT_CHARS_MAX)
                .collect(),
            fingerprint: format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&blob))),
        })
    }
}

/// Adds a key to the caller's account. The caller commits.
pub async fn add(db: &mut Db, line: &str, caller: &Caller) -> Answer<KeyRow> {
    let parsed = PublicKey::parse(line).map_err(|error| {
        Problem::invalid(sentence(&error))
            .hint("Send the line of a file like ~/.ssh/id_ed25519.pub.")
    })?;
    if keys::count(db, caller.id()).await? >= i64::from(KEYS_PER_ACCOUNT_MAX) {
        return Err(Problem::invalid(format!(
            "An account can have at most {KEYS_PER_ACCOUNT_MAX} keys."
        ))
        .hint("Remove one that is no longer used."));
    }
    let row = KeyRow {
        id: KeyId::generate(),
        account: caller.id(),
        fingerprint: parsed.fingerprint,
        public_key: parsed.key,
        comment: parsed.comment,
        created_at: now(),
    };
    keys::insert(db, &row).await.map_err(|error| {
        if error.conflicts_on("keys.fingerprint") {
            Problem::conflict("That key is already in use.")
                .hint("A key belongs to one account: it says who pushes. Use another one here.")
        } else {
            error.into()
        }
    })?;
    record(
        db,
        caller,
        "key.added",
        &format!("Key {} was added.", row.fingerprint),
    )
    .await?;
    Ok(row)
}

/// Removes one of the caller's keys, by id or fingerprint. The caller commits.
pub async fn remove(db: &mut Db, which: &str, caller: &Caller) -> Answer<KeyRow> {
    let row = keys::find(db, caller.id(), which).await?;
    keys::delete(db, row.id).await?;
    record(
        db,
        caller,
        "key.removed",
        &format!("Key {} was removed.", row.fingerprint),
    )
    .await?;
    Ok(row)
}

async fn record(db: &mut Db, caller: &Caller, kind: &'static str, message: &str) -> Answer<()> {
    Ok(events::record(db, None, caller.account.email.as_str(), kind, message).await?)
}

/// Checks a key's wire form (RFC 4253, 5656, 8709): its own type, then what the type demands, and
/// nothing after that.
fn check_blob(kind: &str, blob: &[u8]) -> Result<(), InvalidKey> {
    let mut rest = blob;
    if field(&mut rest)? != kind.as_bytes() {
        return Err(InvalidKey::Damaged);
    }
    match kind {
        "ssh-ed25519" => exact(field(&mut rest)?.len() == 32)?,
        "ssh-rsa" => {
            let exponent = field(&mut rest)?;
            exact(!exponent.is_empty() && exponent.len() <= 8)?;
            let bits = bits(field(&mut rest)?);
            if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
                return Err(InvalidKey::RsaBits(bits));
            }
        }
        "ecdsa-sha2-nistp256" => check_point(&mut rest, b"nistp256", 32)?,
        "ecdsa-sha2-nistp384" => check_point(&mut rest, b"nistp384", 48)?,
        "ecdsa-sha2-nistp521" => check_point(&mut rest, b"nistp521", 66)?,
        other => return Err(InvalidKey::Unsupported(other.chars().take(40).collect())),
    }
    exact(rest.is_empty())
}

/// A curve's name and an uncompressed point on it.
fn check_point(rest: &mut &[u8], curve: &[u8], coordinate_bytes: usize) -> Result<(), InvalidKey> {
    exact(field(rest)? == curve)?;
    let point = field(rest)?;
    exact(point.len() == 1 + 2 * coordinate_bytes && point[0] == 4)
}

fn exact(holds: bool) -> Result<(), InvalidKey> {
    if holds {
        Ok(())
    } else {
        Err(InvalidKey::Damaged)
    }
}

/// Takes a length of four bytes and that many bytes.
fn field<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], InvalidKey> {
    let (length, body) = rest.split_first_chunk::<4>().ok_or(InvalidKey::Damaged)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| InvalidKey::Damaged)?;
    let field = body.get(..length).ok_or(InvalidKey::Damaged)?;
    *rest = &body[length..];
    Ok(field)
}

/// Bits of a big-endian number, leading zeros apart.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let significant = &number[zeros..];
    significant.first().map_or(0, |first| {
        significant.len() * 8 - first.leading_zeros() as usize
    })
}

#[cfg(test)]
mod tests;
