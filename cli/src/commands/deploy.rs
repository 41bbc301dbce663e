//! `deploy`, `deploy:strategy` and what is asked of a deployment under way.

use clap::{Args, Subcommand, ValueEnum};
use fairway_api::deployments::{
    CanaryLimits, CanaryStep, Deployment, Share, Strategy, WishKind, parse_span,
};

use crate::{
    failure::Failure,
    output::{table, time},
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "deploy", visible_alias = "deploy:list")]
    List(ListArgs),
    #[command(name = "deploy:strategy")]
    Strategy(StrategyArgs),
    #[command(name = "deploy:pause")]
    Pause(PauseArgs),
    #[command(name = "deploy:resume")]
    Resume(ResumeArgs),
    #[command(name = "deploy:promote")]
    Promote(PromoteArgs),
    #[command(name = "deploy:abort", visible_alias = "deploy:revert")]
    Abort(AbortArgs),
}

/// Show how the app's newest deployments went, and where one under way stands
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app deploy
  app deploy -n 1 --json
A deployment is the move of the app to a release.")]
pub(crate) struct ListArgs {
    /// How many
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 5)]
    num: usize,
}

/// Show or choose how releases take over
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app deploy:strategy                                # shows it
  app deploy:strategy all-at-once --bake 1h          # old web pods stay up for a revert
  app deploy:strategy rolling --surge 25%            # a few pods at a time
  app deploy:strategy canary 5%:10m 25%:10m          # shares of the requests, watched so long
  app deploy:strategy --unset                        # as app.json's deploy.strategy says
A canary that fails more requests than the pods beside it, or takes much longer, is taken back by
itself. The strategy counts from the next deployment on.")]
pub(crate) struct StrategyArgs {
    /// all-at-once, rolling or canary
    kind: Option<Kind>,
    /// Leave it to app.json again
    #[arg(long, conflicts_with_all = ["kind", "steps"])]
    unset: bool,
    /// Of a canary: PERCENT%:TIME each, as 5%:10m
    #[arg(value_name = "STEP")]
    steps: Vec<CanaryStep>,
    /// How long the old web pods stay up afterwards: 10m, 1h
    #[arg(long, value_name = "TIME", value_parser = time_span)]
    bake: Option<u32>,
    /// Of rolling: pods beyond the wanted count, 2 or 25%
    #[arg(long, value_name = "PODS")]
    surge: Option<Share>,
    /// Of rolling: pods that may be missing, 1 or 10%
    #[arg(long, value_name = "PODS")]
    unavailable: Option<Share>,
    /// Of a canary: requests before it is judged
    #[arg(long, value_name = "COUNT")]
    requests: Option<u32>,
    /// Of a canary: errors beyond those of the other pods, in percent of the requests
    #[arg(long, value_name = "PERCENT")]
    errors: Option<u8>,
    /// Of a canary: how much longer its 95th percentile may take, in percent
    #[arg(long, value_name = "PERCENT")]
    slower: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    AllAtOnce,
    Rolling,
    Canary,
}

/// Keep the deployment under way where it is
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app deploy:pause
It goes on with deploy:resume. One that nobody resumes within a day goes back.")]
pub(crate) struct PauseArgs {}

/// Let a paused deployment go on
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app deploy:resume")]
pub(crate) struct ResumeArgs {}

/// Give a canary all requests now, without the steps that are left
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app deploy:promote")]
pub(crate) struct PromoteArgs {}

/// End the deployment under way and go back to the release before
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app deploy:abort
  app deploy:revert                # the same, after a move whose old pods are still kept
Requests go back at once where the old pods are up, and a rolling deployment rolls back.")]
pub(crate) struct AbortArgs {}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::List(args) => list(&args, session).await,
            Self::Strategy(args) => strategy(args, session).await,
            Self::Pause(PauseArgs {}) => ask(WishKind::Pause, "paused", session).await,
            Self::Resume(ResumeArgs {}) => ask(WishKind::Resume, "goes on", session).await,
            Self::Promote(PromoteArgs {}) => {
                ask(WishKind::Promote, "gets all requests", session).await
            }
            Self::Abort(AbortArgs {}) => ask(WishKind::Abort, "goes back", session).await,
        }
    }
}

fn time_span(text: &str) -> Result<u32, String> {
    parse_span(text).ok_or_else(|| "write a time as 90s, 10m or 1h".into())
}

async fn list(args: &ListArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let mut deployments = client.deployments(&app).await?;
    deployments.truncate(args.num);
    if deployments.is_empty() {
        let no = format!("{app} was never deployed. Deploy: git push fairway main");
        session.output.talk(no);
    }
    session.output.data(&deployments, |deployments| {
        let rows = deployments.iter().map(|it| {
            [
                format!("v{}", it.release.version),
                it.state.clone(),
                it.strategy.to_string(),
                time(it.created_at),
                it.detail.clone(),
            ]
        });
        table(["RELEASE", "STATE", "STRATEGY", "AT", "WHAT"], rows)
    })
}

async fn ask(kind: WishKind, what: &str, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let deployment: Deployment = client.ask_deployment(&app, "current", kind).await?;
    let version = deployment.release.version;
    session
        .output
        .talk(format!("The deployment of v{version} {what}."));
    session.output.answer(&deployment)
}

async fn strategy(args: StrategyArgs, session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    if args.unset {
        let strategy = client.unset_strategy(&app).await?;
        session.output.talk(format!(
            "Deployments of {app} go as app.json says: {strategy}."
        ));
        return session.output.answer(&strategy);
    }
    let Some(kind) = args.kind else {
        let strategy = client.strategy(&app).await?;
        return session.output.data(&strategy, ToString::to_string);
    };
    let wanted = wanted(kind, args)?;
    let strategy = client.set_strategy(&app, &wanted).await?;
    session
        .output
        .talk(format!("Deployments of {app} go: {strategy}."));
    session.output.answer(&strategy)
}

/// The strategy that the arguments ask for. An option of another one is a mistake that would
/// otherwise go unnoticed.
fn wanted(kind: Kind, args: StrategyArgs) -> Result<Strategy, Failure> {
    let of_rolling = args.surge.is_some() || args.unavailable.is_some();
    let judged = args.requests.is_some() || args.errors.is_some() || args.slower.is_some();
    let of_canary = judged || !args.steps.is_empty();
    let foreign = match kind {
        Kind::AllAtOnce if of_rolling || of_canary => Some("all-at-once takes only --bake"),
        Kind::Rolling if of_canary || args.bake.is_some() => {
            Some("rolling takes only --surge and --unavailable; it keeps no old pods to bake")
        }
        Kind::Canary if of_rolling => Some("a canary takes no --surge and no --unavailable"),
        _ => None,
    };
    if let Some(foreign) = foreign {
        return Err(Failure::usage(foreign));
    }
    let bake_secs = args.bake.unwrap_or_default();
    let default = CanaryLimits::default();
    let strategy = match kind {
        Kind::AllAtOnce => Strategy::AllAtOnce { bake_secs },
        Kind::Rolling => Strategy::Rolling {
            // Who lets pods be missing may have no room for one more.
            surge: args
                .surge
                .unwrap_or(Share::Count(u32::from(args.unavailable.is_none()))),
            unavailable: args.unavailable.unwrap_or(Share::Count(0)),
        },
        Kind::Canary => Strategy::Canary {
            steps: args.steps,
            limits: CanaryLimits {
                requests_min: args.requests.unwrap_or(default.requests_min),
                errors_percent: args.errors.unwrap_or(default.errors_percent),
                slower_percent: args.slower.unwrap_or(default.slower_percent),
            },
            bake_secs,
        },
    };
    strategy
        .check()
        .map_err(|error| Failure::usage(error.to_string()))?;
    Ok(strategy)
}
