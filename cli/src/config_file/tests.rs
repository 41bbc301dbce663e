use proptest::prelude::*;

use super::*;

fn vars(pairs: &[(&str, &str)]) -> ConfigVars {
    pairs
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), Secret::new(*value)))
        .collect()
}

#[test]
fn lines_are_read() {
    let text = "# comment\n\nA=1\n  B = two words  \nC=\"x\\ny \\\"z\\\" \\\\\"\nD=\nE=a=b\"c\n";
    let expect = vars(&[
        ("A", "1"),
        ("B", "two words"),
        ("C", "x\ny \"z\" \\"),
        ("D", ""),
        ("E", "a=b\"c"),
    ]);
    assert_eq!(parse(text).unwrap(), expect);
}

#[test]
fn a_wrong_line_is_named_and_its_value_is_not_told() {
    for (text, expect) in [
        ("A=1\nhunter2", "line 2: write NAME=value"),
        ("1A=hunter2", "line 1: config var name \"1A\" is not valid"),
        ("A=1\n\nA=hunter2", "line 3: A was set above already"),
        (
            "A=\"hunter2",
            "line 1: the quoted value must end with its quote",
        ),
        ("A=\"hunter2\" x", "line 1: the quoted value"),
        ("A=\"hunter2\\x\"", "line 1: the quoted value"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with(expect), "{text:?}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn only_what_was_touched_changes() {
    let before = vars(&[("A", "1"), ("B", "2"), ("C", "3")]);
    let after = vars(&[("A", "1"), ("B", "two"), ("D", "4")]);
    let patch = difference(&before, &after);
    let shown: Vec<String> = patch
        .iter()
        .map(|(name, value)| format!("{name}={:?}", value.as_ref().map(Secret::expose)))
        .collect();
    assert_eq!(shown, ["B=Some(\"two\")", "C=None", "D=Some(\"4\")"]);
    assert!(difference(&before, &before).is_empty());
}

proptest! {
    #[test]
    fn every_value_survives_the_editor(
        values in proptest::collection::btree_map("[A-Z_][A-Z0-9_]{0,8}", "(?s).{0,40}", 0..6)
    ) {
        let vars: ConfigVars = values
            .into_iter()
            .map(|(name, value)| (name.parse().unwrap(), Secret::new(value)))
            .collect();
        let text = render(&vars);
        let read = parse(&text);
        prop_assert_eq!(read.as_ref(), Ok(&vars), "{}", text);
    }
}
