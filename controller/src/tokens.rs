//! Making and showing API tokens.

use chrono::TimeDelta;
use fairway_api::{
    accounts::{AccessToken, NewToken, Token},
    ids::TokenId,
};

use crate::{
    auth::{self, Caller},
    problem::{Answer, Problem},
    state::AppState,
    store::{
        columns::now,
        tokens::{self, TokenRow},
    },
};

/// The most characters of a description.
const DESCRIPTION_CHARS_MAX: usize = 100;
/// The longest a token with an end may live, in seconds: ten years.
const EXPIRES_IN_SECS_MAX: u64 = 10 * 365 * 24 * 60 * 60;
/// Tokens of one account; a script that logs in for each run shows here.
const TOKENS_PER_ACCOUNT_MAX: usize = 1_000;

/// Makes a token for the caller. Its secret is in the answer this once.
pub async fn create(state: &AppState, caller: &Caller, new: NewToken) -> Answer<Token> {
    let chars = new
        .description
        .as_ref()
        .map_or(0, |text| text.chars().count());
    if chars > DESCRIPTION_CHARS_MAX {
        return Err(Problem::invalid(format!(
            "A description can have at most {DESCRIPTION_CHARS_MAX} characters."
        )));
    }
    if new
        .expires_in
        .is_some_and(|secs| !(1..=EXPIRES_IN_SECS_MAX).contains(&secs))
    {
        return Err(Problem::invalid(format!(
            "expires_in must be from 1 to {EXPIRES_IN_SECS_MAX} seconds."
        ))
        .hint("Leave it out for a token that stays until it is revoked."));
    }
    let now = now();
    let life = new
        .expires_in
        .map(|secs| TimeDelta::seconds(i64::try_from(secs).unwrap_or(i64::MAX)));
    let expires_at = life.map(|life| now + life);
    let (secret, row) = auth::new_token(caller.id(), new.description, expires_at, now);
    let mut tx = state.store.write().await?;
    tokens::delete_expired(&mut tx, now).await?;
    if tokens::list(&mut tx, caller.id(), now).await?.len() >= TOKENS_PER_ACCOUNT_MAX {
        return Err(Problem::invalid(format!(
            "An account can have at most {TOKENS_PER_ACCOUNT_MAX} tokens."
        ))
        .hint("Revoke some, or let scripts use one token again instead of logging in."));
    }
    tokens::insert(&mut tx, &row).await?;
    tx.commit().await?;
    let access = AccessToken {
        id: row.id,
        token: secret,
        expires_in: new.expires_in,
    };
    Ok(Token {
        access_token: Some(access),
        ..shown(row, caller)
    })
}

/// A token without its secret, which nobody has.
pub fn shown(row: TokenRow, caller: &Caller) -> Token {
    Token {
        id: row.id,
        description: row.description,
        access_token: None,
        scope: vec!["global".into()],
        user: caller.user(),
        created_at: row.created_at,
        updated_at: row.created_at,
    }
}

/// The id in a path; `~` is the token that the caller uses.
pub fn named(which: &str, caller: &Caller) -> Answer<TokenId> {
    let id = if which == "~" {
        caller.token
    } else {
        which.parse().ok()
    };
    id.ok_or_else(|| Problem::not_found("authorization"))
}
