//! Making and removing accounts, and changing passwords.

mod lost_password;

use fairway_api::{
    accounts::{AccountRole, NewAccount, PasswordChange},
    apps::APPS_PER_ACCOUNT_MAX,
    ids::UserId,
    names::Email,
    secret::Secret,
};

pub use lost_password::reset_password;

use crate::{
    auth::{
        Caller,
        passwords::{LoginError, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN},
    },
    problem::{Answer, Problem},
    state::AppState,
    store::{
        Db,
        accounts::{self, AccountRow},
        apps::{self, AppRow},
        columns::now,
        events,
        page::Page,
        tokens,
    },
};

/// Makes an account. `actor` is who wants it.
pub async fn create(state: &AppState, new: NewAccount, actor: &str) -> Answer<AccountRow> {
    check_password(&new.password)?;
    let password_hash = state.logins.hash(new.password).await?;
    let now = now();
    let mut account = AccountRow {
        id: UserId::generate(),
        email: new.email,
        password_hash,
        role: new.role.unwrap_or(AccountRole::Member),
        created_at: now,
        updated_at: now,
    };
    let mut tx = state.store.write().await?;
    account.id = accounts::insert(&mut tx, &account).await.map_err(|error| {
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

/// Removes an account, named by email or id: its tokens and keys end at once. Its apps go to another
/// account first, or it stays: an app without an owner would be nobody's to stop.
pub async fn remove(
    state: &AppState,
    caller: &Caller,
    which: &str,
    transfer_to: Option<Email>,
) -> Answer<AccountRow> {
    let mut tx = state.store.write().await?;
    let account = accounts::find(&mut tx, which).await?;
    if account.id == caller.id() {
        return Err(Problem::invalid("This is your own account.")
            .hint("Let another admin remove it, so that one is always left."));
    }
    let actor = caller.account.email.as_str();
    let apps = apps::list(&mut tx, Some(account.id), &Page::all("apps.id")).await?;
    let mut message = format!("The account {} was removed.", account.email);
    match transfer_to {
        _ if apps.is_empty() => {}
        None => {
            let names: Vec<&str> = apps.iter().map(|app| app.name.as_str()).collect();
            return Err(Problem::conflict(format!(
                "{} owns apps: {}.",
                account.email,
                names.join(", ")
            ))
            .hint(
                "Destroy them, or name the account that gets them (transfer_to, --transfer-to).",
            ));
        }
        Some(email) => {
            let heir = accounts::find(&mut tx, email.as_str()).await?;
            if heir.id == account.id {
                return Err(Problem::invalid(
                    "The apps would stay with the account that goes.",
                ));
            }
            transfer(&mut tx, &apps, &heir, actor).await?;
            message = format!("{message} Its apps went to {}.", heir.email);
        }
    }
    accounts::remove(&mut tx, account.id, now()).await?;
    events::record(&mut tx, None, actor, "account.removed", &message).await?;
    tx.commit().await?;
    Ok(account)
}

async fn transfer(tx: &mut Db, apps: &[AppRow], heir: &AccountRow, actor: &str) -> Answer<()> {
    let after = apps::count(tx, heir.id).await? + i64::try_from(apps.len()).unwrap_or(i64::MAX);
    if after > i64::from(APPS_PER_ACCOUNT_MAX) {
        return Err(Problem::invalid(format!(
            "{} would have {after} apps; an account can have {APPS_PER_ACCOUNT_MAX}.",
            heir.email
        ))
        .hint("Name another account, or destroy some apps first."));
    }
    for app in apps {
        apps::set_owner(tx, app.id, heir.id, now()).await?;
        let message = format!(
            "App {} went from {} to {}.",
            app.name, app.owner.email, heir.email
        );
        events::record(tx, Some(&app.app()), actor, "app.transferred", &message).await?;
    }
    Ok(())
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

/// A fresh password that can be read from a screen.
pub fn readable_password() -> Secret {
    Secret::readable(rand::random())
}
