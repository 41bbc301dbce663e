//! The text that `config:edit` opens in an editor: one config var per line. Pure.
//!
//! `NAME=value` up to the end of the line; a value with line ends, or with something at its ends
//! that an editor may lose, stands in double quotes with `\n`, `\"` and `\\`.

use std::collections::BTreeMap;

use fairway_api::{
    config_vars::{ConfigPatch, ConfigVars},
    names::{ConfigName, InvalidName},
    secret::Secret,
};

/// A line that is no config var.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub(crate) struct LineError {
    line: usize,
    why: Why,
}

/// What is wrong with a line. Values are secret and never repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Why {
    #[error("write NAME=value, or # in front of a comment")]
    NoEquals,
    #[error(transparent)]
    Name(InvalidName),
    #[error("{0} was set above already")]
    Twice(ConfigName),
    #[error("the quoted value must end with its quote; inside, write \\n, \\\" and \\\\")]
    Quotes,
}

/// The text for an editor.
pub(crate) fn render(vars: &ConfigVars) -> String {
    vars.iter()
        .map(|(name, value)| format!("{name}={}\n", quote(value.expose())))
        .collect()
}

/// Reads the text back.
pub(crate) fn parse(text: &str) -> Result<ConfigVars, LineError> {
    let mut vars = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = |why| LineError {
            line: number + 1,
            why,
        };
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or_else(|| wrong(Why::NoEquals))?;
        let name: ConfigName = name
            .trim()
            .parse()
            .map_err(|error| wrong(Why::Name(error)))?;
        let value = unquote(value).ok_or_else(|| wrong(Why::Quotes))?;
        if vars.insert(name.clone(), Secret::new(value)).is_some() {
            return Err(wrong(Why::Twice(name)));
        }
    }
    Ok(vars)
}

/// What has to change to make `after` of `before`; variables that nobody touched stay out, so that
/// what others do meanwhile stays too.
pub(crate) fn difference(before: &ConfigVars, after: &ConfigVars) -> ConfigPatch {
    let set = after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(value))
        .map(|(name, value)| (name.clone(), Some(value.clone())));
    let unset = before.keys().filter(|name| !after.contains_key(*name));
    set.chain(unset.map(|name| (name.clone(), None))).collect()
}

fn quote(value: &str) -> String {
    let plain = !value.contains(['\n', '\r']) && value.trim() == value && !value.starts_with('"');
    if plain {
        return value.to_owned();
    }
    let escaped = value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
        .replace('\r', "\\r");
    format!("\"{escaped}\"")
}

fn unquote(text: &str) -> Option<String> {
    let trimmed = text.trim();
    let Some(body) = trimmed.strip_prefix('"') else {
        return Some(trimmed.to_owned());
    };
    let mut value = String::with_capacity(body.len());
    let mut characters = body.chars();
    loop {
        match characters.next()? {
            '"' => return characters.next().is_none().then_some(value),
            '\\' => value.push(match characters.next()? {
                'n' => '\n',
                'r' => '\r',
                same @ ('"' | '\\') => same,
                _ => return None,
            }),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests;
