//! Help texts: the top level grouped by topic, and each command with the verbs that belong to it.
//!
//! The groups are a table; a test holds it against the command tree, so no command is forgotten.

use std::fmt::Write;

use serde::Serialize;

/// Topics in the order a new user needs them, each with its commands.
const TOPICS: [(&str, &[&str]); 11] = [
    ("Start", &["login", "create", "git:remote", "open"]),
    (
        "Apps",
        &[
            "apps",
            "info",
            "rename",
            "destroy",
            "maintenance",
            "maintenance:on",
            "maintenance:off",
            "features",
            "features:enable",
            "features:disable",
            "events",
        ],
    ),
    (
        "Processes",
        &[
            "ps",
            "ps:scale",
            "ps:type",
            "ps:restart",
            "ps:stop",
            "ps:exec",
            "ps:forward",
            "ps:copy",
            "autoscale",
            "autoscale:set",
            "autoscale:off",
            "placement",
            "placement:set",
            "placement:unset",
            "metrics",
            "run",
            "run:detached",
            "run:list",
            "run:info",
            "run:stop",
            "logs",
        ],
    ),
    (
        "Jobs",
        &[
            "jobs",
            "jobs:info",
            "jobs:start",
            "jobs:suspend",
            "jobs:resume",
            "jobs:run",
        ],
    ),
    (
        "Config",
        &[
            "config",
            "config:get",
            "config:set",
            "config:unset",
            "config:edit",
            "config:files",
            "config:mount",
            "config:unmount",
        ],
    ),
    (
        "Volumes",
        &[
            "volumes",
            "volumes:create",
            "volumes:info",
            "volumes:mount",
            "volumes:unmount",
            "volumes:destroy",
            "volumes:move",
            "volumes:snapshot",
            "volumes:snapshots",
            "volumes:restore",
            "volumes:forget",
        ],
    ),
    (
        "Builds and releases",
        &[
            "builds",
            "builds:info",
            "builds:output",
            "builds:cancel",
            "deploy",
            "deploy:strategy",
            "deploy:pause",
            "deploy:resume",
            "deploy:promote",
            "deploy:abort",
            "deploy:branch",
            "releases",
            "releases:info",
            "rollback",
        ],
    ),
    ("Domains", &["domains", "domains:add", "domains:remove"]),
    (
        "Between apps",
        &[
            "network",
            "network:allow",
            "network:deny",
            "dns",
            "dns:set",
            "dns:unset",
        ],
    ),
    (
        "Account",
        &[
            "whoami",
            "logout",
            "keys",
            "keys:add",
            "keys:remove",
            "authorizations",
            "authorizations:create",
            "authorizations:revoke",
            "account:password",
            "users:add",
        ],
    ),
    (
        "This program",
        &["status", "version", "completions", "help"],
    ),
];

/// What stands below the topics.
const TAIL: &str = "\
Every command is also understood with a space for the colon: app ps scale web=2.
The app is -a APP, FAIRWAY_APP, or the git remote `fairway` of the working directory.
More on one command, with examples: app help COMMAND";

/// Gives the command tree its help texts.
pub(crate) fn dress(command: clap::Command) -> clap::Command {
    let overview = overview(&command);
    let nouns: Vec<(String, String)> = command
        .get_subcommands()
        .filter_map(|noun| Some((noun.get_name().to_owned(), verbs(&command, noun)?)))
        .collect();
    let mut command = command.override_help(overview);
    for (noun, verbs) in nouns {
        command = command.mut_subcommand(noun, |subcommand| {
            let examples = subcommand
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            subcommand.after_help(format!("{}\n\n{verbs}", examples.trim_end()))
        });
    }
    command
}

/// A command, as `help --json` prints it.
#[derive(Debug, Serialize)]
struct CommandHelp {
    name: String,
    about: String,
    also: Vec<String>,
    usage: String,
    arguments: Vec<ArgumentHelp>,
    /// Examples, and what else there is to say.
    notes: String,
}

/// One of its arguments and options, without those that every command has.
#[derive(Debug, Serialize)]
struct ArgumentHelp {
    /// `--size` or `CHANGE`.
    name: String,
    short: Option<char>,
    /// The words that stand for its values; none for a flag.
    values: Vec<String>,
    required: bool,
    about: String,
}

/// Help as data: of one command, else of all.
pub(crate) fn json(tree: &clap::Command, named: Option<&str>) -> String {
    let mut tree = tree.clone();
    // Gives each command its whole name and its usage.
    tree.build();
    let one = named.and_then(|name| tree.find_subcommand(name));
    let text = match one {
        Some(command) => serde_json::to_string_pretty(&as_data(command)),
        None => {
            let shown = tree.get_subcommands().filter(|it| !it.is_hide_set());
            let all: Vec<_> = shown.map(as_data).collect();
            serde_json::to_string_pretty(&all)
        }
    };
    text.expect("help is plain data") + "\n"
}

fn as_data(command: &clap::Command) -> CommandHelp {
    let usage = command.clone().render_usage().to_string();
    let own = |it: &&clap::Arg| !it.is_global_set() && it.get_id() != "help";
    CommandHelp {
        name: command.get_name().to_owned(),
        about: about(command),
        also: command.get_visible_aliases().map(str::to_owned).collect(),
        usage: usage.trim_start_matches("Usage: ").to_owned(),
        arguments: command.get_arguments().filter(own).map(argument).collect(),
        notes: command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default(),
    }
}

fn argument(argument: &clap::Arg) -> ArgumentHelp {
    let values = match argument.get_value_names() {
        _ if !argument.get_action().takes_values() => Vec::new(),
        Some(names) => names.iter().map(ToString::to_string).collect(),
        None => vec![argument.get_id().as_str().to_uppercase()],
    };
    let name = match argument.get_long() {
        Some(long) => format!("--{long}"),
        None => values.first().cloned().unwrap_or_default(),
    };
    ArgumentHelp {
        name,
        short: argument.get_short(),
        values,
        required: argument.is_required_set(),
        about: argument
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default(),
    }
}

/// The whole top-level help.
fn overview(command: &clap::Command) -> String {
    let mut text = String::from(
        "Deploy and run apps on Fairway\n\nUsage: app COMMAND [ARGUMENTS] [OPTIONS]\n",
    );
    for (topic, names) in TOPICS {
        text.push_str(&format!("\n{topic}\n"));
        for name in names {
            let about = command.find_subcommand(name).map(about).unwrap_or_default();
            writeln!(text, "  {name:<23}{about}").expect("a String takes everything");
        }
    }
    text.push('\n');
    text.push_str(TAIL);
    text
}

/// The verbs of a noun, for its own help; `None` where there are none.
fn verbs(command: &clap::Command, noun: &clap::Command) -> Option<String> {
    let prefix = format!("{}:", noun.get_name());
    let verbs: Vec<_> = command
        .get_subcommands()
        .filter(|verb| verb.get_name().starts_with(&prefix) && !verb.is_hide_set())
        .map(|verb| format!("  {:<23}{}", verb.get_name(), about(verb)))
        .collect();
    (!verbs.is_empty()).then(|| format!("Related:\n{}", verbs.join("\n")))
}

fn about(command: &clap::Command) -> String {
    command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_stands_in_exactly_one_topic_and_has_examples() {
        let command = crate::command();
        let listed: Vec<&str> = TOPICS
            .iter()
            .flat_map(|(_, names)| names.iter().copied())
            .collect();
        let unique: BTreeSet<&str> = listed.iter().copied().collect();
        assert_eq!(unique.len(), listed.len(), "a command is listed twice");
        let shown = command
            .get_subcommands()
            .filter(|command| !command.is_hide_set());
        assert_eq!(unique, shown.map(clap::Command::get_name).collect());
        for subcommand in command.get_subcommands() {
            assert!(
                subcommand.get_about().is_some(),
                "{} has no text",
                subcommand.get_name()
            );
            let after = subcommand
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                after.contains("Examples:"),
                "{} has no examples",
                subcommand.get_name()
            );
        }
    }
}
