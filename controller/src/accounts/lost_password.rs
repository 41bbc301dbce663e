//! A new password for whoever lost theirs, set by the machine's operator.
//!
//! The API has no such call: nobody may act for another account. Who can write the database's file
//! can do anything anyway, so the file's permissions are the authority here.

use std::path::Path;

use anyhow::{Context, bail};
use fairway_api::{names::Email, secret::Secret};

use super::readable_password;
use crate::{
    auth::passwords::Logins,
    store::{Store, accounts, columns::now, events},
};

/// Gives an account a new password and returns it. Works on the controller's data folder, whether
/// the controller runs or not. The account's tokens and keys stay.
///
/// # Errors
/// When the folder holds no database that this user may change, or the account does not exist.
pub async fn reset_password(data: &Path, email: &Email) -> anyhow::Result<Secret> {
    let file = data.join("fairway.db");
    // Opening would make an empty one.
    if !file.exists() {
        bail!(
            "{} is not there, or not for this user to see; name Fairway's data directory with \
             --data, and run this as the user that Fairway runs as",
            file.display()
        );
    }
    let store = Store::open(&file)
        .await
        .with_context(|| format!("open {} as the user that Fairway runs as", file.display()))?;
    let password = readable_password();
    let hash = Logins::default().hash(password.clone()).await?;
    let mut tx = store.write().await?;
    let Some(account) = accounts::by_email(&mut tx, email).await? else {
        let known = accounts::list(&mut tx).await?;
        let known: Vec<&str> = known.iter().map(|account| account.email.as_str()).collect();
        bail!(
            "there is no account {email}; there are: {}",
            known.join(", ")
        );
    };
    accounts::set_password_hash(&mut tx, account.id, &hash, now()).await?;
    let message = format!("The operator set a new password for {email}.");
    events::record(
        &mut tx,
        None,
        events::ACTOR_PLATFORM,
        "account.password",
        &message,
    )
    .await?;
    tx.commit().await?;
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::reset_password;
    use crate::testing::Rig;

    #[tokio::test]
    async fn a_new_password_works_at_once_while_the_controller_runs() {
        let rig = Rig::new().await;
        let email = "alice@example.com".parse().unwrap();
        let state = rig.state();
        let data = state.config.data_dir.clone();
        let password = reset_password(&data, &email).await.unwrap();
        let logged_in = state.logins.check(&state.store, &email, &password).await;
        assert_eq!(logged_in.unwrap().email, email);
        rig.get(&rig.alice, "/account").await.expect(200);
    }

    #[tokio::test]
    async fn mistakes_are_named() {
        let rig = Rig::new().await;
        let data = rig.state().config.data_dir.clone();
        let nobody = "nobody@example.com".parse().unwrap();
        let error = reset_password(&data, &nobody)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("alice@example.com"), "{error}");
        let empty = tempfile::tempdir().unwrap();
        let error = reset_password(empty.path(), &nobody)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("--data"), "{error}");
        assert!(!empty.path().join("fairway.db").exists());
    }
}
