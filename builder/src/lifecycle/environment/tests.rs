use std::{fs, process::Command};

use proptest::prelude::*;

use super::*;

fn map(pairs: &[(&str, &str)]) -> Variables {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

/// Files of an environment folder -> what becomes of these variables.
fn check(files: &[(&str, &str)], before: &[(&str, &str)], after: &[(&str, &str)]) {
    let changes = changes_of_files(&map(files));
    let mut variables = map(before);
    apply(&mut variables, &changes);
    assert_eq!(variables, map(after), "{files:?}");
    assert_eq!(
        by_shell(&changes, &map(before)),
        map(after),
        "{files:?}, by the shell"
    );
}

/// What a real shell makes of the lines.
fn by_shell(changes: &[Change], before: &Variables) -> Variables {
    let script = format!("{}\n/usr/bin/env -0", as_shell(changes));
    let output = Command::new("/bin/sh")
        .arg("-c")
        .arg(script)
        .env_clear()
        .envs(before)
        .output();
    let output = output.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    let own = ["PWD", "OLDPWD", "_", "SHLVL"];
    pairs
        .filter(|(k, _)| !own.contains(k))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}

#[test]
fn the_files_of_an_environment_folder() {
    check(&[("A", "new")], &[("A", "old")], &[("A", "new")]);
    check(&[("A.override", "new")], &[("A", "old")], &[("A", "new")]);
    check(&[("A.default", "new")], &[("A", "old")], &[("A", "old")]);
    check(&[("A.default", "new")], &[("A", "")], &[("A", "")]);
    check(&[("A.default", "new")], &[], &[("A", "new")]);
    check(&[("A.append", "b")], &[("A", "a")], &[("A", "ab")]);
    check(
        &[("A.append", "b"), ("A.delim", ";")],
        &[("A", "a")],
        &[("A", "a;b")],
    );
    check(&[("A.append", "b"), ("A.delim", ";")], &[], &[("A", "b")]);
    check(
        &[("A.prepend", "b"), ("A.delim", ":")],
        &[("A", "a")],
        &[("A", "b:a")],
    );
    check(&[("A.prepend", "b")], &[("A", "")], &[("A", "b")]);
    check(
        &[("A.delim", ":"), ("A.unknown", "x")],
        &[("A", "a")],
        &[("A", "a")],
    );
    check(&[("A-B", "x"), ("1A", "x")], &[], &[]);
    check(
        &[("A", "it's $HOME `x` \\ \"q\"\n")],
        &[],
        &[("A", "it's $HOME `x` \\ \"q\"\n")],
    );
}

#[test]
fn a_users_variables_come_before_lists_and_in_place_of_others() {
    let mut variables = map(&[("PATH", "/bin"), ("A", "a")]);
    apply_users(
        &mut variables,
        &map(&[("PATH", "/own"), ("A", "b"), ("CPATH", "/c")]),
    );
    assert_eq!(
        variables,
        map(&[("PATH", "/own:/bin"), ("A", "b"), ("CPATH", "/c")])
    );
}

#[test]
fn a_layer_changes_paths_and_variables() {
    let dir = tempfile::tempdir().unwrap();
    for path in ["bin", "lib", "env", "env.build", "env.launch/web"] {
        fs::create_dir_all(dir.path().join(path)).unwrap();
    }
    for (path, text) in [
        ("env/A", "all"),
        ("env.build/A", "build"),
        ("env.launch/B", "launch"),
        ("env.launch/web/C", "web"),
    ] {
        fs::write(dir.path().join(path), text).unwrap();
    }
    let layer = Folder::open(dir.path()).unwrap();
    let names = |whom| -> Vec<String> {
        let changes = changes_of_layer(&layer, "/layers/x/y", whom).unwrap();
        changes.into_iter().map(|change| change.name).collect()
    };
    assert_eq!(
        names(For::Build),
        ["PATH", "LD_LIBRARY_PATH", "LIBRARY_PATH", "A", "A"]
    );
    assert_eq!(
        names(For::Launch(None)),
        ["PATH", "LD_LIBRARY_PATH", "A", "B"]
    );
    assert_eq!(names(For::Launch(Some("web"))), ["C"]);
    assert_eq!(names(For::Launch(Some("worker"))), Vec::<String>::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_shell_and_we_agree(
        value in "[ -~\n]{0,20}", old in "[ -~]{0,10}", delimiter in "[ -~]{0,3}", kind in 0..4_u8
    ) {
        let action = match kind {
            0 => Action::Override(value),
            1 => Action::Default(value),
            2 => Action::Append { value, delimiter },
            _ => Action::Prepend { value, delimiter },
        };
        let changes = [Change { name: "A".into(), action }];
        let before = map(&[("A", &old)]);
        let mut ours = before.clone();
        apply(&mut ours, &changes);
        prop_assert_eq!(by_shell(&changes, &before), ours);
    }
}
