//! Who is calling: credentials in, accounts and roles out.
//!
//! Two kinds of caller exist and never mix. *Accounts* are people and scripts with an API token
//! (or, to get one, email and password). *Roles* are parts of the platform with the token they were
//! started with. What a caller may see is decided by who uses this, in `http`.

pub mod passwords;

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose};
use chrono::{DateTime, Utc};
use fairway_api::{
    accounts::UserRef,
    ids::{TokenId, UserId},
    secret::Secret,
};
use sha2::{Digest, Sha256};

use crate::{
    config::{Role, RoleCredential},
    store::{
        Store, StoreError,
        accounts::AccountRow,
        apps::AppRow,
        tokens::{self, TokenRow},
    },
};

pub(crate) use passwords::Logins;

/// In front of every API token, so that scanners for leaked secrets can know it.
const TOKEN_PREFIX: &str = "fw_";
/// Random bytes in a token: too many to guess, so a fast hash of it is enough to keep.
const TOKEN_BYTES: usize = 32;

/// What a request brought along to prove who sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presented {
    Bearer(Secret),
    Basic { username: String, password: Secret },
}

impl Presented {
    /// Reads an `Authorization` header. `None` for a form that nobody here understands.
    pub fn parse(header: &str) -> Option<Self> {
        let (scheme, value) = header.split_once(' ')?;
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") && !value.is_empty() {
            return Some(Self::Bearer(Secret::new(value)));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(general_purpose::STANDARD.decode(value).ok()?).ok()?;
        let (username, password) = text.split_once(':')?;
        Some(Self::Basic {
            username: username.into(),
            password: Secret::new(password),
        })
    }

    /// The token in it: git and the heroku CLI send tokens as the password of any user name, curl
    /// users also as a user name without password.
    pub fn token(&self) -> &str {
        match self {
            Self::Bearer(token) => token.expose(),
            Self::Basic { username, password } if password.expose().is_empty() => username,
            Self::Basic { password, .. } => password.expose(),
        }
    }
}

/// An account, proven by a token.
#[derive(Debug, Clone)]
pub struct Caller {
    pub account: AccountRow,
    /// The token it used; `None` when it gave email and password.
    pub token: Option<TokenId>,
}

impl Caller {
    /// The account's id.
    pub fn id(&self) -> UserId {
        self.account.id
    }

    /// The account in short form.
    pub fn user(&self) -> UserRef {
        self.account.user()
    }

    /// True when this account may see and change the app.
    pub fn may_use(&self, app: &AppRow) -> bool {
        self.account.is_admin() || app.owner.id == self.account.id
    }
}

/// The account behind a token, unless the token is unknown, revoked or expired.
pub async fn caller(
    store: &Store,
    token: &str,
    now: DateTime<Utc>,
) -> Result<Option<Caller>, StoreError> {
    let found = tokens::by_hash(&mut *store.read().await?, &hash_hex(token), now).await?;
    Ok(found.map(|(token, account)| Caller {
        account,
        token: Some(token.id),
    }))
}

/// A fresh token for an account: the secret, and the row that remembers it.
pub fn new_token(
    account: UserId,
    description: Option<String>,
    expires_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> (Secret, TokenRow) {
    let random: [u8; TOKEN_BYTES] = rand::random();
    let secret = format!(
        "{TOKEN_PREFIX}{}",
        general_purpose::URL_SAFE_NO_PAD.encode(random)
    );
    let row = TokenRow {
        id: TokenId::generate(),
        account,
        description,
        hash: hash_hex(&secret),
        expires_at,
        created_at: now,
    };
    (Secret::new(secret), row)
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn hash_hex(token: &str) -> String {
    hex::encode(hash(token))
}

/// The credentials of the platform's own parts, by hash: comparing hashes in a map gives away
/// nothing of a token by the time it takes.
#[derive(Debug)]
pub(crate) struct Roles(HashMap<[u8; 32], Role>);

impl Roles {
    pub(crate) fn new(credentials: &[RoleCredential]) -> Self {
        let by_hash = credentials
            .iter()
            .map(|credential| (hash(credential.token.expose()), credential.role.clone()));
        Self(by_hash.collect())
    }

    pub(crate) fn role(&self, token: &str) -> Option<&Role> {
        self.0.get(&hash(token))
    }
}

#[cfg(test)]
mod tests;
