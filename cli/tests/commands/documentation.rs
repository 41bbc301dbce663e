//! `docs/cli.md` against the program: its reference is made from the command tree, so it cannot
//! say what is not so. `UPDATE_DOCS=1 cargo test -p fairway-cli` writes it anew.

use std::{fmt::Write, fs, path::Path};

const BEGIN: &str =
    "<!-- From here on made from the program: UPDATE_DOCS=1 cargo test -p fairway-cli -->";

#[test]
fn the_reference_is_what_the_program_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let document = fs::read_to_string(&path).unwrap();
    let (head, written) = document
        .split_once(BEGIN)
        .expect("docs/cli.md has lost its marker");
    let reference = reference(&fairway_cli::command());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, format!("{head}{BEGIN}\n{reference}")).unwrap();
    } else {
        assert!(
            written.trim() == reference.trim(),
            "docs/cli.md is not what the program says; UPDATE_DOCS=1 cargo test -p fairway-cli"
        );
    }
}

#[test]
fn the_exit_codes_are_those_of_the_program() {
    let document = include_str!("../../../docs/cli.md");
    let rows = include_str!("../../src/failure.rs").lines();
    let rows: Vec<&str> = rows
        .filter_map(|line| line.strip_prefix("//! | "))
        .collect();
    assert!(rows.len() > 5, "the table in failure.rs has moved");
    for row in rows {
        assert!(
            document.contains(&format!("| {row}")),
            "docs/cli.md lacks: | {row}"
        );
    }
}

#[test]
fn every_command_that_the_head_names_exists() {
    let document = include_str!("../../../docs/cli.md");
    let command = fairway_cli::command();
    let head = document.split(BEGIN).next().unwrap();
    let named = head
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.strip_prefix("app "));
    let mut seen = 0;
    for words in named {
        let mut words = words.split(' ');
        let name = words.next().unwrap();
        // A place holder, or the space form.
        if name.chars().all(char::is_uppercase) || name.starts_with('-') {
            continue;
        }
        let spaced = words.next().map(|verb| format!("{name}:{verb}"));
        let known = command.find_subcommand(name).is_some()
            || spaced.is_some_and(|name| command.find_subcommand(name).is_some());
        assert!(known, "docs/cli.md names app {name}");
        seen += 1;
    }
    assert!(seen > 5, "the head names hardly any command");
}

fn reference(tree: &clap::Command) -> String {
    let mut tree = tree.clone();
    tree.build();
    let mut text = String::from("\n## Commands\n");
    let mut commands: Vec<_> = tree
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .collect();
    commands.sort_by_key(|command| command.get_name().to_owned());
    for command in commands {
        section(&mut text, command).unwrap();
    }
    text
}

fn section(text: &mut String, command: &clap::Command) -> std::fmt::Result {
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    writeln!(text, "\n### app {}\n\n{about}.", command.get_name())?;
    let synonyms: Vec<_> = command
        .get_visible_aliases()
        .map(|name| format!("`app {name}`"))
        .collect();
    if !synonyms.is_empty() {
        writeln!(text, "Also: {}.", synonyms.join(", "))?;
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    writeln!(text, "\n```text\n{usage}\n```")?;
    let own = command.get_arguments().filter(|argument| {
        !argument.is_global_set() && !matches!(argument.get_id().as_str(), "help" | "version")
    });
    let rows: Vec<String> = own.map(row).collect();
    if !rows.is_empty() {
        writeln!(text, "\n| | |\n|---|---|\n{}", rows.join("\n"))?;
    }
    let after = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let examples = after.split("\n\n").next().unwrap_or_default();
    let examples = examples.trim().trim_start_matches("Examples:");
    let (lines, notes): (Vec<&str>, Vec<&str>) = examples
        .lines()
        .filter(|line| !line.is_empty())
        .partition(|line| line.starts_with("  "));
    let lines: Vec<&str> = lines.into_iter().map(str::trim).collect();
    writeln!(text, "\n```sh\n{}\n```", lines.join("\n"))?;
    if !notes.is_empty() {
        writeln!(text, "\n{}", notes.join("\n"))?;
    }
    Ok(())
}

fn row(argument: &clap::Arg) -> String {
    let value = argument
        .get_value_names()
        .filter(|_| argument.get_action().takes_values())
        .and_then(|names| names.first())
        .map(ToString::to_string);
    let name = match (argument.get_short(), argument.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (None, Some(long)) => format!("--{long}"),
        _ => String::new(),
    };
    let name = [Some(name).filter(|name| !name.is_empty()), value]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ");
    let help = argument
        .get_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let defaults: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    let default = if defaults.is_empty() || !argument.get_action().takes_values() {
        String::new()
    } else {
        format!(" (default: {})", defaults.join(", "))
    };
    let possible: Vec<_> = argument
        .get_possible_values()
        .iter()
        .map(|value| value.get_name().to_owned())
        .collect();
    let possible = if possible.is_empty() || !argument.get_action().takes_values() {
        String::new()
    } else {
        format!(" (one of: {})", possible.join(", "))
    };
    format!("| `{name}` | {help}{default}{possible} |")
}
