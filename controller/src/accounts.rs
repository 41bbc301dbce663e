//! Making accounts and changing passwords.

mod lost_password;

use fairway_api::{
    accounts::{AccountRole, NewAccount},
    ids::UserId,
    names::Email,
    secret::Secret,
};
use serde::Deserialize;

pub use lost_password::reset_password;

use crate::{
    auth::{
        Caller,
        passwords::{LoginError, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN},
    },
    problem::{Answer, Problem},
    state::AppState,
    store::{
        accounts::{self, AccountRow},
        columns::now,
        events, tokens,
    },
};

/// `PATCH /account`, as the Platform API has it: a new password, proven by the old one.
#[derive(Debug, Deserialize)]
pub struct PasswordChange {
    pub password: Secret,
    pub new_password: Secret,
}

/// Makes an account. `actor` is who wants it.
pub async fn create(state: &AppState, new: NewAccount, actor: &str) -> Answer<AccountRow> {
    check_password(&new.password)?;
    let password_hash = state.logins.hash(new.password).await?;
    let now = now();
    let account = AccountRow {
        id: UserId::generate(),
        email: new.email,
        password_hash,
        role: new.role.unwrap_or(AccountRole::Member),
        created_at: now,
        updated_at: now,
    };
    let mut tx = state.store.write().await?;
    accounts::insert(&mut tx, &account).await.map_err(|error| {
        if error.conflicts_on("accounts.email") {
            return Problem::conflict(format!("{} has an account already.", account.email));
        }
        error.into()
    })?;
    let message = format!("An account for {} was created.", account.email);
    events::record(&mut tx, None, actor, "account.created", &message).await?;
    tx.commit().await?;
    Ok(account)
}

/// Changes the caller's password. All of its other tokens end: whoever changes a password may do
/// so because somebody else got hold of the account.
pub async fn change_password(
    state: &AppState,
    caller: &Caller,
    change: PasswordChange,
) -> Answer<()> {
    check_password(&change.new_password)?;
    let email = &caller.account.email;
    state
        .logins
        .check(&state.store, email, &change.password)
        .await
        .map_err(|error| match error {
            LoginError::Wrong => Problem::invalid("The present password is wrong."),
            error => error.into(),
        })?;
    let password_hash = state.logins.hash(change.new_password).await?;
    let mut tx = state.store.write().await?;
    accounts::set_password_hash(&mut tx, caller.id(), &password_hash, now()).await?;
    tokens::delete_others(&mut tx, caller.id(), caller.token).await?;
    let message = "The password was changed; other tokens were revoked.";
    events::record(&mut tx, None, email.as_str(), "account.password", message).await?;
    Ok(tx.commit().await?)
}

/// Makes the first account, an admin, if there is no account at all; false if there is.
pub async fn ensure_admin(state: &AppState, email: Email, password: Secret) -> Answer<bool> {
    if accounts::count(&mut *state.store.read().await?).await? > 0 {
        return Ok(false);
    }
    let role = Some(AccountRole::Admin);
    let new = NewAccount {
        email,
        password,
        role,
    };
    create(state, new, events::ACTOR_PLATFORM).await?;
    Ok(true)
}

fn check_password(password: &Secret) -> Answer<()> {
    let chars = password.expose().chars().count();
    if (PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&chars) {
        return Ok(());
    }
    Err(Problem::invalid(format!(
        "A password must have {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters."
    )))
}

/// A password to read from a screen: four groups of five letters and digits that are not taken for
/// one another, 100 bits.
pub fn readable_password() -> Secret {
    const ALPHABET: [u8; 32] = *b"abcdefghijkmnpqrstuvwxyz23456789";
    let random: [u8; 20] = rand::random();
    let letter = |byte: &u8| char::from(ALPHABET[usize::from(byte % 32)]);
    let groups: Vec<String> = random
        .chunks(5)
        .map(|group| group.iter().map(letter).collect())
        .collect();
    Secret::new(groups.join("-"))
}
