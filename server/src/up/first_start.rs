//! What happens once per data directory: the first account, and a token for this machine's
//! operator. Each step looks whether it was done, so that a crash in between loses nothing.

use std::fs;

use anyhow::Context;
use fairway_api::{accounts::NewToken, client::Client, secret::Secret};
use fairway_controller::{Controller, readable_password};

use super::layout::Layout;
use crate::{identity::write_private, progress::Progress};

/// Makes the first account if there is none, and leaves its credentials in files that only the
/// operator can read: `admin-password` and, as the mark that it is done, `admin-email`.
pub(super) async fn make_admin(
    controller: &Controller,
    layout: &Layout,
    progress: &Progress,
) -> anyhow::Result<()> {
    let done = layout.data.join("admin-email");
    if done.exists() {
        return Ok(());
    }
    // The file comes first: an account whose password nobody knows could not be used. One that is
    // there was left by a start that was cut off, or put there by the operator.
    let path = layout.data.join("admin-password");
    if !path.exists() {
        write_private(&path, readable_password().expose())?;
    }
    let password = fs::read_to_string(&path).context("read the first account's password")?;
    controller
        .ensure_admin(layout.admin_email.clone(), Secret::new(password.trim()))
        .await?;
    write_private(&done, layout.admin_email.as_str())?;
    progress.say(&format!("       Made the account {}", layout.admin_email));
    Ok(())
}

/// Trades the first account's password for a token in `admin-token`, with which the operator's
/// `app` is logged in. Without the password file (an operator removed it) nothing happens.
pub(super) async fn make_token(client: &Client, layout: &Layout) -> anyhow::Result<()> {
    let path = layout.data.join("admin-token");
    if path.exists() {
        return Ok(());
    }
    let read = |name: &str| fs::read_to_string(layout.data.join(name));
    let (Ok(email), Ok(password)) = (read("admin-email"), read("admin-password")) else {
        return Ok(());
    };
    let wanted = NewToken {
        description: Some("This machine".into()),
        expires_in: None,
    };
    let token = client
        .log_in(
            &email.trim().parse()?,
            &Secret::new(password.trim()),
            &wanted,
        )
        .await
        .context("log the operator in")?;
    let access = token
        .access_token
        .context("the API made a token without its secret")?;
    write_private(&path, access.token.expose())
}
