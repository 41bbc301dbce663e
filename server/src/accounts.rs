//! What an operator does about accounts without being one: `fairway account:reset-password`.

use std::{fs, path::PathBuf};

use clap::Args;
use fairway_api::names::Email;

use crate::identity::write_private;

/// Flags of `fairway account:reset-password`.
#[derive(Debug, Clone, Args)]
pub struct ResetPasswordArgs {
    /// Whose password was lost
    email: Email,
    /// Fairway's data directory
    #[arg(
        long,
        env = "FAIRWAY_DATA",
        value_name = "DIR",
        default_value = "/var/lib/fairway"
    )]
    data: PathBuf,
}

impl ResetPasswordArgs {
    /// Sets a new password and prints it; the only line on standard output, for scripts.
    ///
    /// # Errors
    /// When the data directory is not one, may not be changed, or has no such account.
    #[expect(clippy::print_stdout, reason = "the answer of a command")]
    pub async fn run(self) -> anyhow::Result<()> {
        let of_up = self.data.join("controller");
        // `fairway controller` alone has its database in the data directory itself.
        let database = if of_up.exists() { &of_up } else { &self.data };
        let password = fairway_controller::reset_password(database, &self.email).await?;
        println!("{}", password.expose());
        self.renew_first_account(password.expose())
    }

    /// The first account's password stands in a file, and `fairway up` logs in with it when the
    /// token beside it is gone.
    fn renew_first_account(&self, password: &str) -> anyhow::Result<()> {
        let read = |name: &str| fs::read_to_string(self.data.join(name)).ok();
        let first = read("admin-email").is_some_and(|text| text.trim() == self.email.as_str());
        if first && read("admin-password").is_some() {
            write_private(&self.data.join("admin-password"), password)?;
        }
        Ok(())
    }
}
