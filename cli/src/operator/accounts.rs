//! `account` and its verbs: who may use this Fairway.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use fairway_api::{
    accounts::{Account, AccountRole, NewAccount, RemoveAccount},
    names::Email,
    secret::Secret,
};

use crate::{
    failure::Failure,
    output::{table, time},
    session::Session,
    terminal,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "account", visible_alias = "account:list")]
    List(ListArgs),
    #[command(name = "account:add")]
    Add(AddArgs),
    #[command(name = "account:remove")]
    Remove(RemoveArgs),
}

/// List the accounts
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fairway account
  fairway account --json | jq -r '.[] | select(.role == \"admin\").email'")]
pub(super) struct ListArgs {}

/// Make an account, and print its password
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fairway account:add grace@example.com
  fairway account:add grace@example.com --admin
  fairway account:add grace@example.com --password-file password
The password is made up and printed this once unless a file has it. Its owner changes it in the
dashboard, or with app account:password.")]
pub(super) struct AddArgs {
    /// The account's email
    email: Email,
    /// Let it see and change every app, account and machine
    #[arg(long)]
    admin: bool,
    /// Take the password from this file; - reads standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Remove an account with its tokens and keys
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fairway account:remove grace@example.com
  fairway account:remove grace@example.com --transfer-to ada@example.com
An account that owns apps stays until they are destroyed, or another account gets them.")]
pub(super) struct RemoveArgs {
    /// The account's email
    email: Email,
    /// Who gets its apps
    #[arg(long, value_name = "EMAIL")]
    transfer_to: Option<Email>,
}

impl Command {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(ListArgs {}) => list(session).await,
            Self::Add(args) => add(args, session).await,
            Self::Remove(args) => remove(args, session).await,
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let accounts = session.client()?.accounts().await?;
    session.output.data(&accounts, |accounts| {
        let rows = accounts.iter().map(|account| {
            [
                account.email.to_string(),
                role(account).to_owned(),
                time(account.created_at),
            ]
        });
        table(["EMAIL", "ROLE", "CREATED"], rows)
    })
}

fn role(account: &Account) -> &'static str {
    match account.role {
        AccountRole::Member => "member",
        AccountRole::Admin => "admin",
    }
}

async fn add(args: AddArgs, session: &Session) -> Result<(), Failure> {
    let client = session.client()?;
    let (password, made_up) = match args.password_file {
        Some(file) => (terminal::secret_in(&file)?, false),
        None => (Secret::readable(rand::random()), true),
    };
    let role = if args.admin {
        AccountRole::Admin
    } else {
        AccountRole::Member
    };
    let new = NewAccount {
        email: args.email,
        password: password.clone(),
        role: Some(role),
    };
    let account = client.create_account(&new).await?;
    session
        .output
        .talk(format!("Made the account {}.", account.email));
    if !made_up {
        return session.output.answer(&account);
    }
    if session.output.json {
        let mut shown = serde_json::to_value(&account)
            .map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?;
        shown["password"] = password.expose().into();
        return session.output.data(&shown, |_| String::new());
    }
    session
        .output
        .talk("Its password, which is shown this once:");
    session.output.text(password.expose())
}

async fn remove(args: RemoveArgs, session: &Session) -> Result<(), Failure> {
    let remove = RemoveAccount {
        transfer_to: args.transfer_to,
    };
    let account = session
        .client()?
        .remove_account(&args.email, &remove)
        .await?;
    session
        .output
        .talk(format!("Removed the account {}.", account.email));
    session.output.answer(&account)
}
