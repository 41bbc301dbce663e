//! `login`, `logout`, `whoami`, `account:password`, `users:add`.

use std::{fs, path::PathBuf};

use clap::{Args, Subcommand};
use fairway_api::{
    accounts::{Account, AccountRole, NewAccount, NewToken, PasswordChange},
    client::Client,
    names::Email,
    secret::Secret,
};

use crate::{
    credentials::Login,
    failure::{Failure, Kind},
    output::pairs,
    remote::ServerUrl,
    session::{Session, parse_server},
    terminal,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "login", visible_alias = "auth:login")]
    Login(LoginArgs),
    #[command(name = "logout", visible_alias = "auth:logout")]
    Logout(LogoutArgs),
    #[command(name = "whoami", visible_alias = "auth:whoami")]
    Whoami(WhoamiArgs),
    #[command(name = "account:password")]
    Password(PasswordArgs),
    #[command(name = "users:add", visible_alias = "users:create")]
    Add(AddArgs),
}

/// Log in, for this command and for git
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app login                        # asks for email and password
  app login https://fairway.example.com
  app login --token-file token     # a token from a file; --token - reads standard input
  echo \"$PASSWORD\" | app login --email ada@example.com --password-stdin
The token is kept in ~/.config/fairway/credentials.toml. For git push over HTTP, login also sets
credential.URL.helper in your global git configuration; --no-git leaves it alone.")]
pub(crate) struct LoginArgs {
    /// The server [default: FAIRWAY_URL, else the last one, else http://localhost:7000]
    #[arg(value_name = "URL")]
    server: Option<String>,
    /// The same as an option
    #[arg(long, value_name = "URL", conflicts_with = "server")]
    url: Option<String>,
    /// Your account's email, instead of being asked
    #[arg(short, long)]
    email: Option<Email>,
    /// Read the password from standard input
    #[arg(long, requires = "email")]
    password_stdin: bool,
    /// Log in with this API token; - reads it from standard input, where no process list shows it
    #[arg(long, conflicts_with_all = ["email", "password_stdin"])]
    token: Option<String>,
    /// Log in with the API token in this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["email", "password_stdin", "token"])]
    token_file: Option<PathBuf>,
    /// Leave git's configuration alone
    #[arg(long)]
    no_git: bool,
}

/// Log out: revoke the stored token and forget it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app logout
  app logout https://fairway.example.com")]
pub(crate) struct LogoutArgs {
    /// The server, as for app login
    #[arg(value_name = "URL")]
    server: Option<String>,
}

/// Show who you are logged in as
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app whoami")]
pub(crate) struct WhoamiArgs {}

/// Change your password; all tokens but the one in use are revoked
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app account:password             # asks for the present and the new one
  printf '%s\\n' \"$OLD\" \"$NEW\" | app account:password --stdin")]
pub(crate) struct PasswordArgs {
    /// Read the present and the new password from standard input, one per line
    #[arg(long)]
    stdin: bool,
}

/// Make an account (admins only)
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app users:add grace@example.com  # asks for a password
  app users:add grace@example.com --admin
  echo \"$PASSWORD\" | app users:add grace@example.com --password-stdin")]
pub(crate) struct AddArgs {
    /// The account's email
    email: Email,
    /// Let it see and change every app and account
    #[arg(long)]
    admin: bool,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Login(args) => login(args, session).await,
            Self::Logout(args) => logout(args, session).await,
            Self::Whoami(WhoamiArgs {}) => whoami(session).await,
            Self::Password(args) => change_password(&args, session).await,
            Self::Add(args) => add(args, session).await,
        }
    }
}

fn server_of(named: Option<&str>, session: &Session) -> Result<ServerUrl, Failure> {
    named.map_or_else(|| Ok(session.server()?.url), parse_server)
}

async fn login(args: LoginArgs, session: &Session) -> Result<(), Failure> {
    let server = server_of(args.server.as_deref().or(args.url.as_deref()), session)?;
    let anonymous = Client::new(server.url().clone(), None);
    let token = match given_token(&args)? {
        Some(token) => token,
        None => trade_password(&anonymous, args.email, args.password_stdin, session).await?,
    };
    let account = anonymous.with_token(token.clone()).account().await?;
    let mut credentials = session.credentials()?;
    credentials.keep(
        &server,
        Login {
            email: account.email.clone(),
            token,
        },
    );
    let path = credentials.write(session.environment.settings_dir.as_deref())?;
    session
        .output
        .talk(format!("Logged in to {server} as {}.", account.email));
    session
        .output
        .talk(format!("The token is kept in {}.", path.display()));
    if !args.no_git {
        session.teach_git(&server);
    }
    if session.environment.token.is_some() {
        session
            .output
            .talk("FAIRWAY_TOKEN is set and is used instead while it is.");
    }
    session.output.answer(&account)
}

/// The token that the command line names.
fn given_token(args: &LoginArgs) -> Result<Option<Secret>, Failure> {
    match (&args.token, &args.token_file) {
        (Some(token), _) if token == "-" => terminal::read_secret().map(Some),
        (Some(token), _) => Ok(Some(Secret::new(token))),
        (None, Some(path)) => {
            let name = path.display();
            let text = fs::read_to_string(path).map_err(Failure::io(format!("read {name}")))?;
            match text.trim() {
                "" => Err(Failure::usage(format!("{name} holds no token"))),
                token => Ok(Some(Secret::new(token))),
            }
        }
        (None, None) => Ok(None),
    }
}

async fn trade_password(
    client: &Client,
    email: Option<Email>,
    password_stdin: bool,
    session: &Session,
) -> Result<Secret, Failure> {
    if !password_stdin && !terminal::can_ask() {
        return Err(Failure::usage("there is no terminal to ask for email and password").with_hint(
            "Use app login --token - or app login --email EMAIL --password-stdin, or set FAIRWAY_TOKEN.",
        ));
    }
    let email = match email {
        Some(email) => email,
        None => terminal::ask("Email")?.trim().parse()?,
    };
    let password = if password_stdin {
        terminal::read_secret()?
    } else {
        terminal::ask_password("Password", false)?
    };
    let wanted = NewToken {
        description: Some(session.token_description()),
        expires_in: None,
    };
    let made = client
        .log_in(&email, &password, &wanted)
        .await
        .map_err(|error| {
            let failure = Failure::from(error);
            if failure.kind == Kind::NotAllowed {
                return Failure {
                    hint: None,
                    ..failure
                };
            }
            failure
        })?;
    made.access_token.map(|access| access.token).ok_or_else(|| {
        Failure::failed(format!("{} answered without a token", client.base()))
            .with_hint("Is it a newer version of Fairway than this program?")
    })
}

async fn logout(args: LogoutArgs, session: &Session) -> Result<(), Failure> {
    let server = server_of(args.server.as_deref(), session)?;
    let mut credentials = session.credentials()?;
    let Some(login) = credentials.forget(&server) else {
        session
            .output
            .talk(format!("You were not logged in to {server}."));
        return session.output.nothing();
    };
    credentials.write(session.environment.settings_dir.as_deref())?;
    session.unteach_git(&server);
    session.output.talk(format!("Logged out of {server}."));
    let client = Client::new(server.url().clone(), Some(login.token));
    match client.log_out().await.map_err(Failure::from) {
        Ok(()) => {}
        // A token that the server does not know any more is as good as revoked.
        Err(failure) if failure.kind == Kind::NotAllowed => {}
        Err(failure) => session.output.talk(format!(
            "The token was forgotten here but is not revoked: {}",
            failure.message
        )),
    }
    session.output.nothing()
}

async fn whoami(session: &Session) -> Result<(), Failure> {
    let account = session.client()?.account().await?;
    session
        .output
        .data(&account, |account| account.email.to_string())
}

async fn change_password(args: &PasswordArgs, session: &Session) -> Result<(), Failure> {
    let client = session.client()?;
    let change = if args.stdin {
        let [password, new_password] = terminal::read_secrets()?;
        PasswordChange {
            password,
            new_password,
        }
    } else if terminal::can_ask() {
        PasswordChange {
            password: terminal::ask_password("Present password", false)?,
            new_password: terminal::ask_password("New password", true)?,
        }
    } else {
        return Err(
            Failure::usage("there is no terminal to ask for passwords").with_hint("Use --stdin.")
        );
    };
    let account = client.change_password(&change).await?;
    session.output.talk(
        "Changed the password. All tokens but this one were revoked: log in again elsewhere.",
    );
    session.output.answer(&account)
}

async fn add(args: AddArgs, session: &Session) -> Result<(), Failure> {
    let client = session.client()?;
    let password = if args.password_stdin {
        terminal::read_secret()?
    } else if terminal::can_ask() {
        terminal::ask_password(&format!("Password for {}", args.email), true)?
    } else {
        return Err(Failure::usage("there is no terminal to ask for a password")
            .with_hint("Use --password-stdin."));
    };
    let role = Some(if args.admin {
        AccountRole::Admin
    } else {
        AccountRole::Member
    });
    let account = client
        .create_account(&NewAccount {
            email: args.email,
            password,
            role,
        })
        .await?;
    session.output.talk("Made the account.");
    session.output.data(&account, describe)
}

fn describe(account: &Account) -> String {
    let role = match account.role {
        AccountRole::Member => "member",
        AccountRole::Admin => "admin",
    };
    pairs([
        ("Account", account.email.to_string()),
        ("Role", role.to_owned()),
    ])
}
