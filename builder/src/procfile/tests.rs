use proptest::prelude::*;

use super::*;

fn check(text: &str, want: &[(&str, &str)]) {
    let got = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    let got: Vec<_> = got.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(got, want, "{text:?}");
}

fn check_refused(text: &str, want: &str) {
    let error = parse(text.as_bytes()).expect_err(text).to_string();
    assert!(
        error.contains(want),
        "{text:?}: {error:?} does not say {want:?}"
    );
}

#[test]
fn what_a_procfile_may_say() {
    check("web: python app.py", &[("web", "python app.py")]);
    check("web: a\nworker: b\n", &[("web", "a"), ("worker", "b")]);
    check(
        "release: ./migrate\r\nweb: a\r\n",
        &[("release", "./migrate"), ("web", "a")],
    );
    check("# comment\n\n  web :  a:b --c  \n", &[("web", "a:b --c")]);
    check("\u{feff}web: a", &[("web", "a")]);
    check("web: a # not a comment", &[("web", "a # not a comment")]);
}

#[test]
fn what_it_may_not() {
    check_refused(
        "web: a\npython app.py",
        "line 2: \"python app.py\" is not of the form",
    );
    check_refused(
        "web: a\n\nweb: b",
        "line 3: the process type \"web\" was declared before, on line 1",
    );
    check_refused("web:", "line 1: the process type \"web\" has no command");
    check_refused("w b: a", "line 1: process type \"w b\" is not valid");
    check_refused(": a", "line 1: process type \"\" is not valid");
    check_refused("# only a comment\n", "declares no process type");
    let many: String = (0..=PROCESS_TYPES_MAX)
        .map(|n| format!("t{n}: a\n"))
        .collect();
    check_refused(&many, "more than 64");
    assert_eq!(parse(b"web: \xff"), Err(ProcfileError::NotText));
    assert_eq!(
        parse(&vec![b'#'; PROCFILE_BYTES_MAX + 1]),
        Err(ProcfileError::NotText)
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        match parse(&bytes) {
            Ok(procfile) => prop_assert!(procfile.values().all(|command| !command.trim().is_empty())),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn what_was_written_is_read_back(
        entries in proptest::collection::btree_map("[a-z]{1,8}", "[a-z][a-z ./$:-]{0,30}[a-z]", 1..8)
    ) {
        let text: String = entries.iter().map(|(k, v)| format!("{k}: {v}\n")).collect();
        let got = parse(text.as_bytes()).unwrap();
        let got: BTreeMap<_, _> = got.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
        prop_assert_eq!(got, entries);
    }
}
