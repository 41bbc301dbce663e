use proptest::prelude::*;

use super::{super::spec::Provide, *};

/// `"+a -b | -c"`: provides a and requires b, or requires c. A leading `?` makes it optional.
fn candidate(index: usize, text: &str) -> Candidate {
    let (optional, text) = match text.strip_prefix('?') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let alternatives = text.split('|').map(|alternative| {
        let mut sections = PlanSections::default();
        for word in alternative.split_whitespace() {
            let (sign, name) = word.split_at(1);
            let name = name.to_owned();
            match sign {
                "+" => sections.provides.push(Provide { name }),
                _ => sections.requires.push(Require {
                    name,
                    metadata: toml::Table::new(),
                }),
            }
        }
        sections
    });
    Candidate {
        index,
        optional,
        alternatives: alternatives.collect(),
    }
}

fn candidates(texts: &[&str]) -> Vec<Candidate> {
    texts
        .iter()
        .enumerate()
        .map(|(index, text)| candidate(index, text))
        .collect()
}

fn check(texts: &[&str], want: &[usize]) {
    let resolved = resolve(&candidates(texts)).unwrap_or_else(|why| panic!("{texts:?}: {why:?}"));
    assert_eq!(resolved.indices, want, "{texts:?}");
}

fn check_refused(texts: &[&str], want: Unresolved) {
    assert_eq!(resolve(&candidates(texts)), Err(want), "{texts:?}");
}

#[test]
fn what_is_provided_and_required_builds() {
    check(&[""], &[0]);
    check(&["+a -a"], &[0]);
    check(&["+a", "-a"], &[0, 1]);
    check(&["+a", "+b", "-a -b"], &[0, 1, 2]);
    check(&["+a", "+a", "-a"], &[0, 1, 2]);
}

#[test]
fn an_optional_buildpack_steps_aside() {
    check(&["?+a", "+b -b"], &[1]);
    check(&["+a -a", "?-missing"], &[0]);
    check(&["?+a", "?-a -missing", "+b -b"], &[2]);
}

#[test]
fn alternatives_are_tried_in_order() {
    check(&["+a", "-missing | -a"], &[0, 1]);
    check(&["+a | +b", "-b"], &[0, 1]);
    let resolved = resolve(&candidates(&["+a | +a +b", "-a | -b"])).unwrap();
    let names: Vec<_> = resolved
        .entries
        .iter()
        .map(|e| e.requires[0].name.as_str())
        .collect();
    assert_eq!(names, ["a"]);
}

#[test]
fn what_cannot_be_met_is_named() {
    check_refused(
        &["-a"],
        Unresolved::NotProvided {
            index: 0,
            name: "a".into(),
        },
    );
    check_refused(
        &["-a", "+a"],
        Unresolved::NotProvided {
            index: 0,
            name: "a".into(),
        },
    );
    check_refused(
        &["+a"],
        Unresolved::NotRequired {
            index: 0,
            name: "a".into(),
        },
    );
    check_refused(
        &["+a -a", "+a"],
        Unresolved::NotRequired {
            index: 1,
            name: "a".into(),
        },
    );
    check_refused(&["?+a"], Unresolved::NobodyLeft);
    check_refused(&[], Unresolved::NobodyLeft);
}

proptest! {
    #[test]
    fn a_plan_that_is_found_holds(texts in proptest::collection::vec(
        "[?]?([+-][a-c]( [+-][a-c]){0,2}( [|] [+-][a-c]){0,2})?", 0..5)
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let all = candidates(&texts);
        if let Ok(resolved) = resolve(&all) {
            for entry in &resolved.entries {
                prop_assert!(!entry.providers.is_empty() && !entry.requires.is_empty());
                for provider in &entry.providers {
                    prop_assert!(resolved.indices.contains(provider));
                }
            }
            for candidate in all.iter().filter(|candidate| !candidate.optional) {
                prop_assert!(resolved.indices.contains(&candidate.index));
            }
        }
    }
}
