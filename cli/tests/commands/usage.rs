//! Command lines: colon and space form, mistakes, help, exit codes.

use crate::person::{Person, run};

#[test]
fn colon_and_space_form_do_the_same() {
    let person = Person::new();
    for (colon, space) in [
        ("ps:scale web=2", "ps scale web=2"),
        ("ps:scale web=2", "scale web=2"),
        ("ps:restart web", "ps restart web"),
        ("ps:restart", "restart"),
        ("config", "config list"),
        ("config:get GREETING", "config get GREETING"),
        ("config:set A=1 B=2", "config set A=1 B=2"),
        ("config:unset A", "config unset A"),
        ("releases:info v7", "releases info v7"),
        ("rollback v5", "releases rollback v5"),
        ("apps", "apps list"),
        ("create shop", "apps create shop"),
        ("info", "apps info"),
        ("destroy --confirm shop", "apps destroy --confirm shop"),
        ("domains:add a.example", "domains add a.example"),
        ("maintenance:on", "maintenance on"),
        ("builds:output", "builds output"),
        ("run:detached sleep 1", "run detached sleep 1"),
        ("keys:remove work", "keys remove work"),
        ("whoami", "auth whoami"),
        ("ps -a shop", "-a shop ps"),
    ] {
        let [colon, space] = [colon, space].map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let done = run(&mut person.shop(&words));
            (done.code, done.stdout, done.stderr, person.api.take_seen())
        });
        assert_eq!(colon.0, 0, "{colon:?}");
        assert_eq!(colon, space);
    }
}

/// A command line, its exit code, and what stderr has to say.
const MISTAKES: [(&str, i32, &str); 35] = [
    (
        "nonsense",
        2,
        " !     nonsense is no command\n       app help lists all.",
    ),
    (
        "rolback",
        2,
        "Did you mean app rollback? app help lists all.",
    ),
    (
        "ps scal web=1",
        2,
        " !     ps:scal is no command\n       Did you mean app ps:scale?",
    ),
    ("config st A=1", 2, "Did you mean app config:set?"),
    ("users", 2, "Did you mean app users:add?"),
    ("ps --wrong", 2, "unexpected argument '--wrong' found"),
    ("ps scale --wrong", 2, "app help ps:scale shows examples."),
    ("--wrong", 2, "app help lists all commands."),
    ("ps:scale web", 2, "does not say what to scale"),
    ("ps:scale web=2 web=3", 2, "web is named twice"),
    ("config:set GREETING", 2, "written NAME=VALUE"),
    ("config:set 1A=2", 2, "not start with a digit"),
    ("config:get MISSING", 3, "has no config var MISSING"),
    ("config:get bad-name", 2, "config var name"),
    ("info -a Bad_Name", 2, "app name \"Bad_Name\" is not valid"),
    ("info -a shop -r fairway", 2, "cannot be used with"),
    (
        "info missing",
        3,
        "There is no apps missing.\n       app apps lists your apps.",
    ),
    ("create Bad", 2, "app name"),
    (
        "destroy",
        2,
        "must be confirmed\n       app destroy -a shop --confirm shop",
    ),
    ("destroy --confirm blog", 2, "nothing was destroyed"),
    ("logs -n 10001", 2, "10000"),
    ("logs --source other", 2, "[possible values: app, fairway]"),
    (
        "releases:info v99",
        3,
        "There is no apps shop releases v99.",
    ),
    ("builds:info 0193a1b2", 2, "several builds"),
    ("builds:info ffff", 3, "has no build ffff"),
    ("builds:output --json", 2, "--json has no meaning here"),
    ("run --json ls", 2, "--json has no meaning here"),
    ("run ls --app blog", 2, "stands after the command"),
    ("run", 2, "<COMMAND>..."),
    ("run -e A ls", 2, "write NAME=VALUE"),
    ("keys:remove missing", 3, "you have no key"),
    ("keys:add /nowhere.pub", 2, "cannot read /nowhere.pub"),
    ("rollback v6", 1, "v9 failed: web.1 did not open its port"),
    ("login", 2, "no terminal to ask"),
    ("git:remote", 2, "in no git repository"),
];

#[test]
fn mistakes_are_told_with_what_to_do() {
    let person = Person::new();
    for (line, code, expect) in MISTAKES {
        let words: Vec<&str> = line.split(' ').collect();
        let done = run(&mut person.shop(&words));
        assert_eq!(done.code, code, "{line}: {}", done.stderr);
        assert!(done.stderr.contains(expect), "{line}: {}", done.stderr);
        assert!(done.stderr.contains(" !     "), "{line}: {}", done.stderr);
        assert_eq!(done.stdout, "", "{line}");
        assert!(
            !done.stderr.lines().any(|line| line.ends_with(' ')),
            "{line}: {}",
            done.stderr
        );
    }
}

#[test]
fn a_secret_value_is_not_repeated_in_a_mistake() {
    let person = Person::new();
    for words in [
        &["config:set", "hunter2"][..],
        &["config:set", "1A=hunter2"],
    ] {
        let done = run(&mut person.shop(words));
        assert_eq!(done.code, 2);
        assert!(!done.stderr.contains("hunter2"), "{}", done.stderr);
    }
}

#[test]
fn help_is_data_and_names_every_command() {
    let person = Person::new();
    let overview = run(&mut person.bare(&["help"]));
    assert_eq!((overview.code, overview.stderr.as_str()), (0, ""));
    insta::assert_snapshot!("help", overview.stdout);
    for words in [&["--help"][..], &["-h"], &[]] {
        assert_eq!(
            run(&mut person.bare(words)).stdout,
            overview.stdout,
            "{words:?}"
        );
    }
    let one = run(&mut person.bare(&["help", "ps", "scale"]));
    insta::assert_snapshot!("help_ps_scale", one.stdout);
    for words in [
        &["ps", "scale", "--help"][..],
        &["ps:scale", "-h"],
        &["help", "scale"],
    ] {
        assert_eq!(run(&mut person.bare(words)).stdout, one.stdout, "{words:?}");
    }
    assert_eq!(run(&mut person.bare(&["help", "nonsense"])).code, 2);
    let json = |words: &[&str]| -> serde_json::Value {
        let done = run(&mut person.bare(words));
        assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{words:?}");
        serde_json::from_str(&done.stdout).unwrap()
    };
    let all = json(&["help", "--json"]);
    let shown = fairway_cli::command()
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .count();
    assert_eq!(all.as_array().unwrap().len(), shown);
    let one = json(&["help", "ps", "scale", "--json"]);
    assert_eq!(
        (&one["name"], &one["arguments"][0]["name"]),
        (&"ps:scale".into(), &"CHANGE".into())
    );
    assert!(
        one["notes"]
            .as_str()
            .unwrap()
            .contains("app ps:scale web=3"),
        "{one}"
    );
    let version = run(&mut person.bare(&["--version"])).stdout;
    assert_eq!(version, run(&mut person.bare(&["version"])).stdout);
}

#[test]
fn values_for_a_shell_are_read_by_a_shell() {
    let person = Person::new();
    let shell = run(&mut person.shop(&["config", "--shell"])).stdout;
    let script = format!("{shell}\nprintf '%s|%s' \"$GREETING\" \"$KEY\"");
    let output = std::process::Command::new("sh")
        .arg("-c")
        .arg(script)
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "hello world|-----BEGIN\nabc\n"
    );
}
