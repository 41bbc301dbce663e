//! `app run` against a scripted WebSocket end.

use std::{
    io::{Read, Write},
    process::{Command as Process, Stdio},
};

use crate::{
    fake_api::TOKEN,
    person::{Person, run},
};

#[test]
fn streams_and_exit_code_are_passed_on() {
    let person = Person::new();
    let done = run(&mut person.shop(&["run", "exit 7"]));
    assert_eq!(done.code, 7);
    assert_eq!(
        (done.stdout.as_str(), done.stderr.as_str()),
        ("to stdout\n", "to stderr\n")
    );
    let asked = person.api.take_seen();
    assert!(
        asked.contains(r#""command":"exit 7","attach":true,"force_no_tty":true,"env":{}"#),
        "{asked}"
    );
}

#[test]
fn more_input_than_any_buffer_holds_goes_through_and_back() {
    let person = Person::new();
    // Several megabytes: an end that does not read while it sends would stop for ever.
    let input: String = (0..600_000).map(|number| format!("{number}\n")).collect();
    let done = run(person.shop(&["run", "cat"]).write_stdin(input.clone()));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(
        done.stdout == input,
        "{} of {} bytes came back",
        done.stdout.len(),
        input.len()
    );
}

#[test]
fn what_goes_wrong_is_told() {
    let person = Person::new();
    for (script, code, expect) in [
        ("fails", 1, "no node has room for it"),
        (
            "lost",
            1,
            "the connection to run.4821 was lost\n       It may still be running",
        ),
        ("stranger", 5, "the other end of the terminal sent"),
        // The server still knows how it ended.
        ("lost-but-ended", 9, ""),
    ] {
        let done = run(&mut person.shop(&["run", script]));
        assert_eq!(done.code, code, "{script}: {}", done.stderr);
        assert!(done.stderr.contains(expect), "{script}: {}", done.stderr);
    }
}

#[test]
fn a_closed_output_ends_it_quietly() {
    let person = Person::new();
    let script = format!(
        "yes | head -c 3000000 | {} run cat | head -1",
        env!("CARGO_BIN_EXE_app")
    );
    let output = Process::new("sh")
        .args(["-c", &script])
        .env("FAIRWAY_URL", person.api.url())
        .env("FAIRWAY_TOKEN", TOKEN)
        .env("FAIRWAY_APP", "shop")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "y\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// Runs a command in a terminal of its own, made by script(1), and types into it once the API was
/// asked what is waited for. Stdout has what the terminal showed, and then its settings.
fn in_terminal(person: &Person, command: &str, wait_for: &str, typed: &str) -> (i32, String) {
    let app = env!("CARGO_BIN_EXE_app");
    let line = format!("stty rows 40 cols 120; {app} {command}; code=$?; stty -a; exit $code");
    let mut script = Process::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("FAIRWAY_URL", person.api.url())
        .env("FAIRWAY_TOKEN", TOKEN)
        .env("FAIRWAY_APP", "shop")
        .env("TERM", "xterm-test")
        .env("HOME", person.home())
        .env_remove("NO_COLOR")
        .current_dir(person.work())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    person.api.wait_for(wait_for);
    // Kept open to the end: script(1) ends the terminal with its input.
    let mut stdin = script.stdin.take().unwrap();
    stdin.write_all(typed.as_bytes()).unwrap();
    let mut shown = String::new();
    script
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut shown)
        .unwrap();
    (script.wait().unwrap().code().unwrap_or(-1), shown)
}

#[test]
fn a_terminal_is_joined_with_its_size_and_every_key() {
    let person = Person::new();
    // Ctrl-C is a key like any other.
    let (code, shown) = in_terminal(&person, "run keys", "terminal", "\u{3}");
    assert!(
        shown.contains("Running keys on shop, run.4821 (standard-1x)"),
        "{shown}"
    );
    assert!(shown.contains("got [3]"), "{shown}");
    assert_eq!(code, 3);
    // stty -a, run after it, shows that the terminal is as it was.
    assert!(
        shown.contains(" icanon") && shown.contains(" echo "),
        "{shown}"
    );
    let asked = person.api.take_seen();
    assert!(
        asked.contains(r#""force_no_tty":false,"env":{"TERM":"xterm-test"}"#),
        "{asked}"
    );
    let size = r#"terminal {"kind":"resize","rows":40,"columns":120}"#;
    assert!(asked.contains(size), "{asked}");
}

#[test]
fn colours_and_harmless_text_only_in_a_terminal() {
    let person = Person::new();
    let (code, shown) = in_terminal(&person, "logs", "log-sessions", "");
    assert_eq!(code, 0);
    assert!(shown.contains("\u{1b}[3"), "no colour: {shown:?}");
    assert!(
        !shown.contains("\u{1b}[2J"),
        "the log drove the terminal: {shown:?}"
    );
    let piped = run(&mut person.shop(&["logs"]));
    assert!(
        piped.stdout.contains("app[worker.1]: \u{1b}[2J"),
        "{:?}",
        piped.stdout
    );
    assert!(!piped.stdout.contains("\u{1b}[3"), "{:?}", piped.stdout);
}

#[test]
fn destroy_asks_in_a_terminal() {
    let person = Person::new();
    let (code, shown) = in_terminal(&person, "destroy", "GET /apps/shop", "blog\n");
    assert_eq!(code, 2, "{shown}");
    assert!(shown.contains("cannot be undone"), "{shown}");
    assert!(!person.api.take_seen().contains("DELETE"));
    let (code, shown) = in_terminal(&person, "destroy", "GET /apps/shop", "shop\n");
    assert_eq!(code, 0, "{shown}");
    assert!(person.api.take_seen().contains("DELETE /apps/shop"));
}
