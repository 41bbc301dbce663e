//! docs/operating.md says of every flag what clap knows of it, and nothing of flags that are gone.

#![expect(clippy::unwrap_used, reason = "a test that cannot look should fail")]

use std::collections::BTreeSet;

use clap::{Arg, Args, Command};
use fairway_server::{
    roles::{BuilderArgs, ControllerArgs, JoinArgs, RegistryArgs, RouterArgs, RunArgs},
    settings::Settings,
};

const OPERATING: &str = include_str!("../../docs/operating.md");

/// The cells of the rows, without the heading, of the table in a section.
fn table(heading: &str) -> Vec<Vec<String>> {
    let (_, rest) = OPERATING
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("docs/operating.md has no section {heading:?}"));
    let section = rest.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|'));
    rows.skip(2)
        .map(|row| {
            // A bar within a cell is written as `\|`.
            let row = row.replace("\\|", "\u{0}");
            let cells = row.trim_matches('|').split('|');
            cells
                .map(|cell| cell.trim().replace('\u{0}', "|"))
                .collect()
        })
        .collect()
}

fn flags<A: Args>() -> Command {
    A::augment_args(Command::new("flags")).disable_help_flag(true)
}

/// `--listen-api ADDRESS`, as the help shows it.
fn usage(arg: &Arg) -> String {
    let flag = format!("--{}", arg.get_long().unwrap());
    let values: Vec<_> = arg.get_possible_values();
    if !values.is_empty() {
        let values: Vec<_> = values.iter().map(|value| value.get_name()).collect();
        return format!("{flag} [{}]", values.join("|"));
    }
    match arg.get_value_names() {
        Some([name]) => format!("{flag} {name}"),
        _ => flag,
    }
}

/// What stands in the help as `[default: ...]`.
fn default_in_help(arg: &Arg) -> Option<String> {
    let help = arg.get_help()?.to_string();
    let (_, rest) = help.split_once("[default: ")?;
    Some(rest.trim_end_matches(']').to_owned())
}

#[test]
fn the_table_of_settings_is_what_clap_knows() {
    let command = flags::<Settings>();
    let rows = table("Settings");
    let told: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    let known: Vec<String> = command.get_arguments().map(usage).collect();
    assert_eq!(
        told, known,
        "flags in docs/operating.md, and in settings.rs"
    );
    for (row, arg) in rows.iter().zip(command.get_arguments()) {
        let flag = &row[0];
        let variable = arg.get_env().map(|name| name.to_str().unwrap());
        assert_eq!(
            row[1].trim_matches('`'),
            variable.unwrap_or_default(),
            "{flag}"
        );
        // What can stand in the file is tested beside the settings; these two cannot.
        let key = arg.get_long().unwrap();
        let key = if ["config", "progress"].contains(&key) {
            ""
        } else {
            key
        };
        assert_eq!(row[2].trim_matches('`'), key, "{flag}");
        if let Some(default) = default_in_help(arg) {
            assert_eq!(row[3].replace('`', ""), default, "{flag}");
        }
    }
}

/// Flags by whether they must be given.
fn required<A: Args>(want: bool) -> BTreeSet<String> {
    let command = flags::<A>();
    let flags = command
        .get_arguments()
        .filter(|arg| arg.is_required_set() == want);
    // What is no flag stands beside the role's name.
    flags
        .filter_map(|arg| arg.get_long())
        .map(|flag| format!("--{flag}"))
        .collect()
}

fn told(cell: &str) -> BTreeSet<String> {
    let words = cell.split_whitespace();
    words
        .map(|word| word.trim_matches('`').to_owned())
        .collect()
}

#[test]
fn the_table_of_roles_is_what_clap_knows() {
    let known = [
        ("controller", required::<ControllerArgs> as fn(bool) -> _),
        ("builder", required::<BuilderArgs>),
        ("registry", required::<RegistryArgs>),
        ("router", required::<RouterArgs>),
        ("node join", required::<JoinArgs>),
        ("node run", required::<RunArgs>),
    ];
    let rows = table("Roles alone");
    assert_eq!(rows.len(), known.len());
    for (row, (role, flags)) in rows.iter().zip(known) {
        assert!(row[0].contains(&format!("`fairway {role}`")), "{}", row[0]);
        assert_eq!(told(&row[1]), flags(true), "needed by fairway {role}");
        assert_eq!(told(&row[2]), flags(false), "further of fairway {role}");
    }
}
