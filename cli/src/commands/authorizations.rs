//! `authorizations`: API tokens of the account, under Heroku's name for them.

use clap::{Args, Subcommand};
use fairway_api::accounts::{NewToken, Token};

use crate::{
    failure::Failure,
    output::{pairs, table, time},
    session::Session,
    span::Span,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "authorizations", visible_aliases = ["authorizations:list", "tokens"])]
    List(ListArgs),
    #[command(name = "authorizations:create")]
    Create(CreateArgs),
    #[command(
        name = "authorizations:revoke",
        visible_alias = "authorizations:destroy"
    )]
    Revoke(RevokeArgs),
}

/// List your API tokens
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app authorizations
Each login of app and each of the dashboard is one of them.")]
pub(crate) struct ListArgs {}

/// Make an API token, for a script or another machine
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app authorizations:create --description CI --expires-in 90d
  FAIRWAY_TOKEN=$(app authorizations:create -d CI --short) app apps
The token is shown this once. It can do all that your account can.")]
pub(crate) struct CreateArgs {
    /// What it is for
    #[arg(short, long, value_name = "TEXT")]
    description: Option<String>,
    /// When it ends, such as 30d [default: never]
    #[arg(short, long, value_name = "TIME")]
    expires_in: Option<Span>,
    /// Print only the token
    #[arg(short = 'S', long)]
    short: bool,
}

/// Revoke an API token: it counts no more at once
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app authorizations:revoke 0199f0c1-2222-7333-8444-555566667777
  app authorizations:revoke CI       # by its description")]
pub(crate) struct RevokeArgs {
    /// Its id or description
    token: String,
}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(ListArgs {}) => list(session).await,
            Self::Create(args) => create(args, session).await,
            Self::Revoke(args) => revoke(&args, session).await,
        }
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let tokens = session.client()?.tokens().await?;
    session.output.data(&tokens, |tokens| {
        let rows = tokens.iter().map(|token| {
            [
                described(token).to_owned(),
                token.id.to_string(),
                time(token.created_at),
            ]
        });
        table(["DESCRIPTION", "ID", "CREATED"], rows)
    })
}

fn described(token: &Token) -> &str {
    token.description.as_deref().unwrap_or("-")
}

async fn create(args: CreateArgs, session: &Session) -> Result<(), Failure> {
    let wanted = NewToken {
        description: args.description,
        expires_in: args.expires_in.map(|span| span.0.as_secs()),
    };
    let made = session.client()?.create_token(&wanted).await?;
    let secret = |made: &Token| match &made.access_token {
        Some(access) => access.token.expose().to_owned(),
        None => String::new(),
    };
    session.output.data(&made, |made| {
        if args.short {
            return secret(made);
        }
        pairs([
            ("Token", secret(made)),
            ("Description", described(made).to_owned()),
            ("ID", made.id.to_string()),
        ])
    })
}

async fn revoke(args: &RevokeArgs, session: &Session) -> Result<(), Failure> {
    let client = session.client()?;
    let tokens = client.tokens().await?;
    let matching: Vec<&Token> = tokens
        .iter()
        .filter(|token| {
            token.id.to_string() == args.token || token.description.as_ref() == Some(&args.token)
        })
        .collect();
    match matching[..] {
        [token] => {
            client.revoke_token(token.id).await?;
            session
                .output
                .talk(format!("Revoked {}.", described(token)));
            session.output.nothing()
        }
        [] => Err(
            Failure::not_found(format!("you have no token {:?}", args.token))
                .with_hint("app authorizations lists them."),
        ),
        _ => Err(Failure::usage(format!(
            "several tokens have the description {:?}",
            args.token
        ))
        .with_hint("Name the id; app authorizations lists them.")),
    }
}
