//! The command line: options that every command has, the command tree, and how a mistake in it is
//! told.

use std::ffi::OsString;

use clap::{
    Args, CommandFactory, FromArgMatches, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    commands::Command,
    failure::{Failure, Kind},
    help,
    output::Output,
    spelling::Spelling,
};

/// The name of the program that has these commands.
const PROGRAM: &str = "app";

/// One parsed command line.
#[derive(Debug, Parser)]
#[command(
    name = PROGRAM,
    about = "Deploy and run apps on Fairway",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Options {
    /// The app [default: FAIRWAY_APP, else the git remote `fairway`]
    #[arg(short, long, global = true, value_name = "APP")]
    pub(crate) app: Option<String>,
    /// Take the app from this git remote
    #[arg(
        short,
        long,
        global = true,
        value_name = "NAME",
        conflicts_with = "app"
    )]
    pub(crate) remote: Option<String>,
    /// Print data as the API's JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// The command tree with its grouped help.
pub(crate) fn command() -> clap::Command {
    help::dress(Arguments::command())
}

/// Reads a command line, the program's name first. Help and version are printed here, and end it.
pub(crate) fn parse(words: Vec<OsString>) -> Result<Arguments, Failure> {
    parse_as(&command(), words)
}

/// Reads a command line as that of `command`.
pub(crate) fn parse_as<T: FromArgMatches>(
    command: &clap::Command,
    words: Vec<OsString>,
) -> Result<T, Failure> {
    let spelling = Spelling::of(command);
    let words = spelling.colon_form(words);
    let parsed = command
        .clone()
        .try_get_matches_from(&words)
        .and_then(|matches| T::from_arg_matches(&matches));
    parsed.map_err(|error| told(&error, command, spelling.command_in(&words), &words))
}

/// What the parser has to say, in our shape: help to stdout, a mistake to stderr.
fn told(
    error: &clap::Error,
    command: &clap::Command,
    named: Option<&str>,
    words: &[OsString],
) -> Failure {
    let (text, program) = (error.render(), command.get_name());
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            if words.iter().any(|word| word == "--json") =>
        {
            printed(&help::json(command, named))
        }
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => printed(&text.to_string()),
        ErrorKind::InvalidSubcommand => unknown_command(error, program),
        _ => {
            let text = text.to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            // Its last paragraph points to --help in a form that is not ours.
            let text = text
                .split("\n\nFor more information")
                .next()
                .unwrap_or(text);
            let help = match named {
                Some(named) => format!("{program} help {named} shows examples."),
                None => format!("{program} help lists all commands."),
            };
            Failure::usage(text.trim_end()).with_hint(help)
        }
    }
}

/// Help went to stdout: nothing went wrong, and there is nothing more to do or to say.
fn printed(text: &str) -> Failure {
    let printed = Output::new(false, false).raw(text.as_bytes());
    printed
        .err()
        .unwrap_or_else(|| Failure::new(Kind::OutputClosed, "help was printed"))
}

/// A command that does not exist, and the one that was probably meant.
fn unknown_command(error: &clap::Error, program: &str) -> Failure {
    let texts = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    };
    let typed = texts(ContextKind::InvalidSubcommand).concat();
    let failure = Failure::usage(format!("{typed} is no command"));
    // The parser gives what is similar in rising order.
    match texts(ContextKind::SuggestedSubcommand).last() {
        Some(meant) => failure.with_hint(format!(
            "Did you mean {program} {meant}? {program} help lists all."
        )),
        None => failure.with_hint(format!("{program} help lists all.")),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_tree_is_consistent() {
        super::command().debug_assert();
    }
}
