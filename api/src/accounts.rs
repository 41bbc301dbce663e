//! Accounts and their tokens (Platform API: `account`, `oauth-authorization`).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    ids::{TokenId, UserId},
    names::Email,
    secret::Secret,
};

/// What an account may do on the platform as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountRole {
    /// Sees and changes its own apps.
    Member,
    /// Sees and changes every app and account.
    Admin,
}

/// `GET /account`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub id: UserId,
    pub email: Email,
    pub role: AccountRole,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// The short form in which other resources name an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRef {
    pub id: UserId,
    pub email: Email,
}

/// `POST /users`, for admins: makes an account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    pub email: Email,
    /// 8 to 200 characters.
    pub password: Secret,
    pub role: Option<AccountRole>,
}

/// `DELETE /users/ID`, for admins: removes an account, by email or id.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveAccount {
    /// Who gets its apps. Without it an account that has apps stays.
    pub transfer_to: Option<Email>,
}

/// `PATCH /account`, as the Platform API has it: a new password, proven by the present one. All
/// other tokens of the account end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PasswordChange {
    pub password: Secret,
    /// 8 to 200 characters.
    pub new_password: Secret,
}

/// `POST /oauth/authorizations`, authenticated by email and password (basic) or by a token.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What the token is for, at most 100 characters.
    pub description: Option<String>,
    /// Seconds until it ends; without it the token stays until it is revoked.
    pub expires_in: Option<u64>,
}

/// An API token. `access_token.token` is present only in the answer that creates it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    pub id: TokenId,
    pub description: Option<String>,
    pub access_token: Option<AccessToken>,
    /// Always `["global"]`: a token may do what its account may.
    pub scope: Vec<String>,
    pub user: UserRef,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// The secret half of a [`Token`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessToken {
    pub id: TokenId,
    pub token: Secret,
    /// Seconds left, at creation.
    pub expires_in: Option<u64>,
}
