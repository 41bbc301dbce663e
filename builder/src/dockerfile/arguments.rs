//! Which build arguments a Dockerfile asks for. Pure.

use std::collections::{BTreeMap, HashMap};

/// The arguments to pass: those of `offered` that the Dockerfile declares with `ARG`. One that it
/// does not declare would reach no command, and the engine would warn of it.
pub(super) fn declared(
    dockerfile: &str,
    offered: &BTreeMap<String, String>,
) -> HashMap<String, String> {
    dockerfile
        .lines()
        .filter_map(|line| {
            let (instruction, rest) = line.trim_start().split_once([' ', '\t'])?;
            instruction.eq_ignore_ascii_case("ARG").then_some(rest)
        })
        .flat_map(str::split_whitespace)
        .filter_map(|word| {
            let name = word.split('=').next()?;
            Some((name.to_owned(), offered.get(name)?.clone()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_declared_is_passed() {
        let offered = ["PIP_INDEX_URL", "NPM_CONFIG_REGISTRY", "GOPROXY"]
            .map(|name| (name.to_owned(), format!("https://{name}")))
            .into();
        let passed = |dockerfile: &str| {
            let mut names: Vec<_> = declared(dockerfile, &offered).into_keys().collect();
            names.sort();
            names
        };
        assert!(passed("FROM x\nENV PIP_INDEX_URL=y\n# ARG GOPROXY\nRUN ARG\n").is_empty());
        assert_eq!(passed("ARG GOPROXY"), ["GOPROXY"]);
        assert_eq!(
            passed("FROM x\n  arg\tPIP_INDEX_URL=https://pypi.org/simple OTHER\nARG GOPROXY"),
            ["GOPROXY", "PIP_INDEX_URL"]
        );
    }
}
