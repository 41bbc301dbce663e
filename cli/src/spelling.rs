//! The colon form and the space form of a command are one: `app ps scale web=2` is turned into
//! `app ps:scale web=2` before the command line is parsed. Pure.

use std::{collections::BTreeMap, ffi::OsString};

/// The names that exist, and what follows each.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spelling {
    /// Every name and synonym, and whether a word may follow it as an argument.
    names: BTreeMap<String, bool>,
    /// Options that may stand before or between the words of a command, and take a value.
    options_with_value: Vec<String>,
    /// The same without a value.
    flags: Vec<String>,
}

impl Spelling {
    /// Reads the names from the command tree.
    pub(crate) fn of(command: &clap::Command) -> Self {
        let mut spelling = Self::default();
        for subcommand in command.get_subcommands() {
            let takes_words = subcommand.get_positionals().next().is_some();
            for name in std::iter::once(subcommand.get_name()).chain(subcommand.get_all_aliases()) {
                spelling.names.insert(name.to_owned(), takes_words);
            }
        }
        for option in command
            .get_arguments()
            .filter(|option| !option.is_positional())
        {
            let takes_value = option.get_action().takes_values();
            let list = if takes_value {
                &mut spelling.options_with_value
            } else {
                &mut spelling.flags
            };
            list.extend(option.get_long().map(|name| format!("--{name}")));
            list.extend(option.get_short().map(|name| format!("-{name}")));
        }
        spelling
    }

    /// The command line, the program's name first, in the colon form.
    pub(crate) fn colon_form(&self, mut words: Vec<OsString>) -> Vec<OsString> {
        let Some(first) = self.next_word(&words, 1) else {
            return words;
        };
        if words[first] == "help" {
            return self.help_form(words, first);
        }
        let Some(second) = self.next_word(&words, first + 1) else {
            return words;
        };
        if let Some(joined) = self.join(&words[first], &words[second]) {
            words[first] = joined.into();
            words.remove(second);
        }
        words
    }

    /// The command that a line in the colon form names, if there is such a command.
    pub(crate) fn command_in<'a>(&self, words: &'a [OsString]) -> Option<&'a str> {
        let name = words.get(self.next_word(words, 1)?)?.to_str()?;
        self.names.contains_key(name).then_some(name)
    }

    /// `app help ps scale` is `app ps:scale --help`.
    fn help_form(&self, mut words: Vec<OsString>, help: usize) -> Vec<OsString> {
        words.remove(help);
        let mut words = self.colon_form(words);
        words.push("--help".into());
        words
    }

    /// The colon form of two words, if they are one command. A noun that takes no words of its own
    /// is joined with whatever follows, so that a mistyped verb is reported as such.
    fn join(&self, noun: &OsString, verb: &OsString) -> Option<String> {
        let (noun, verb) = (noun.to_str()?, verb.to_str()?);
        let joined = format!("{noun}:{verb}");
        let prefix = format!("{noun}:");
        let has_verbs = self.names.keys().any(|name| name.starts_with(&prefix));
        let takes_words = self.names.get(noun).copied().unwrap_or(false);
        (self.names.contains_key(&joined) || (has_verbs && !takes_words)).then_some(joined)
    }

    /// The place of the first word at or after `start` that is no option; `None` at the end or at
    /// an option that is not ours, where guessing has to stop.
    fn next_word(&self, words: &[OsString], start: usize) -> Option<usize> {
        let mut place = start;
        loop {
            let word = words.get(place)?.to_str()?;
            if !word.starts_with('-') {
                return Some(place);
            }
            let (name, value) = word
                .split_once('=')
                .map_or((word, None), |(n, v)| (n, Some(v)));
            if self.options_with_value.iter().any(|option| option == name) {
                place += if value.is_some() { 1 } else { 2 };
            } else if self.flags.iter().any(|flag| flag == name) || self.glued(word) {
                place += 1;
            } else {
                return None;
            }
        }
    }

    /// A short option with its value in one word: `-ashop`.
    fn glued(&self, word: &str) -> bool {
        let short = |option: &&String| option.len() == 2 && word.starts_with(option.as_str());
        word.len() > 2
            && !word.starts_with("--")
            && self.options_with_value.iter().any(|o| short(&o))
    }
}

/// The same tree with verbs below their nouns, for shells: in a colon they see the end of a word.
pub(crate) fn space_form(command: &clap::Command) -> clap::Command {
    let mut tree = clap::Command::new("app").disable_help_subcommand(true);
    tree = tree.args(command.get_arguments().cloned());
    let shown = || {
        command
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
    };
    let plain = |command: &clap::Command| -> clap::Command {
        let about = command.get_about().cloned().unwrap_or_default();
        let name = command
            .get_name()
            .rsplit(':')
            .next()
            .unwrap_or_default()
            .to_owned();
        clap::Command::new(name)
            .about(about)
            .args(command.get_arguments().cloned())
    };
    for noun in shown().filter(|command| !command.get_name().contains(':')) {
        let mut subcommand = plain(noun);
        let prefix = format!("{}:", noun.get_name());
        for verb in shown().filter(|command| command.get_name().starts_with(&prefix)) {
            subcommand = subcommand.subcommand(plain(verb));
        }
        tree = tree.subcommand(subcommand);
    }
    // Nouns that are no command themselves: git:remote, users:add.
    for verb in shown() {
        let Some((noun, _)) = verb.get_name().split_once(':') else {
            continue;
        };
        if command.find_subcommand(noun).is_none() {
            tree = if tree.find_subcommand(noun).is_some() {
                tree.mut_subcommand(noun, |group| group.subcommand(plain(verb)))
            } else {
                tree.subcommand(clap::Command::new(noun.to_owned()).subcommand(plain(verb)))
            };
        }
    }
    tree
}

#[cfg(test)]
mod tests;
