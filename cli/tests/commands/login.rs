//! Logging in and out, and what is kept.

use std::{fs, os::unix::fs::PermissionsExt};

use crate::{
    fake_api::{PASSWORD, TOKEN},
    person::{Person, run},
};

const BY_PASSWORD: [&str; 4] = ["login", "--email", "ada@example.com", "--password-stdin"];

#[test]
fn a_login_is_kept_for_its_server_and_for_the_owner_only() {
    let person = Person::new();
    let url = person.api.url();
    let done = run(person
        .bare(&[&BY_PASSWORD[..], &[&url]].concat())
        .write_stdin(PASSWORD));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(done.stdout, "");
    assert!(
        done.stderr
            .contains(&format!("Logged in to {url} as ada@example.com."))
    );
    assert!(!done.stderr.contains(TOKEN));
    let mode = fs::metadata(person.credentials_file())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // From now on nothing has to be named.
    let who = run(&mut person.bare(&["whoami"]));
    assert_eq!(
        (who.code, who.stdout.as_str()),
        (0, "ada@example.com\n"),
        "{}",
        who.stderr
    );
    // FAIRWAY_TOKEN wins while it is set.
    let other = run(person.bare(&["whoami"]).env("FAIRWAY_TOKEN", "wrong"));
    assert_eq!(other.code, 4, "{}", other.stderr);
}

#[test]
fn a_token_comes_from_a_file() {
    let person = Person::new();
    let file = person.home().join("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let path = file.to_str().unwrap();
    let words = ["login", "--url", &person.api.url(), "--token-file", path];
    let done = run(&mut person.bare(&words));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(run(&mut person.bare(&["whoami"])).code, 0);
    fs::write(&file, "\n").unwrap();
    assert_eq!(run(&mut person.bare(&words)).code, 2);
    fs::remove_file(&file).unwrap();
    assert_eq!(run(&mut person.bare(&words)).code, 1);
}

#[test]
fn git_gets_the_login_from_us() {
    let person = Person::new();
    let url = person.api.url();
    let done = run(person
        .bare(&["login", "--token", "-", &url])
        .write_stdin(TOKEN));
    assert_eq!(done.code, 0, "{}", done.stderr);
    let key = format!("credential.{url}.helper");
    assert!(
        done.stderr.contains(&key),
        "what was set is not said: {}",
        done.stderr
    );
    let helpers = person.git(&["config", "--global", "--get-all", &key]);
    assert!(
        helpers.starts_with('\n') && helpers.ends_with(" git:credential\n"),
        "{helpers:?}"
    );
    // Logging in again changes nothing there.
    run(person
        .bare(&["login", "--token", "-", &url])
        .write_stdin(TOKEN));
    assert_eq!(
        person.git(&["config", "--global", "--get-all", &key]),
        helpers
    );
    // The real git asks the helper, and asks nobody for another host.
    let host = url.strip_prefix("http://").unwrap();
    for (host, expect) in [
        (host, format!("password={TOKEN}\n")),
        ("other.example", String::new()),
    ] {
        let question = format!("protocol=http\nhost={host}\n\n");
        let answer = run(assert_cmd::Command::new("git")
            .args(["credential", "fill"])
            .env("HOME", person.home())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .current_dir(person.work())
            .write_stdin(question));
        assert!(
            answer.stdout.contains(&expect),
            "{host}: {}{}",
            answer.stdout,
            answer.stderr
        );
        assert_eq!(
            answer.stdout.contains("ada@example.com"),
            !expect.is_empty()
        );
    }
    let done = run(&mut person.bare(&["logout"]));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(person.git(&["config", "--global", "--get-all", &key]), "");
    assert!(
        !fs::read_to_string(person.credentials_file())
            .unwrap()
            .contains(TOKEN)
    );
    assert!(
        person
            .api
            .take_seen()
            .contains("DELETE /oauth/authorizations/~")
    );
    assert_eq!(run(&mut person.bare(&["whoami"])).code, 4);
}

#[test]
fn a_helper_of_the_user_is_left_alone() {
    let person = Person::new();
    let url = person.api.url();
    let key = format!("credential.{url}.helper");
    person.git(&["config", "--global", &key, "store"]);
    let done = run(person
        .bare(&["login", "--token", "-", &url])
        .write_stdin(TOKEN));
    assert_eq!(done.code, 0);
    assert!(done.stderr.contains("left alone"), "{}", done.stderr);
    run(&mut person.bare(&["logout"]));
    assert_eq!(
        person.git(&["config", "--global", "--get-all", &key]),
        "store\n"
    );
}

#[test]
fn a_refused_login_keeps_nothing() {
    let person = Person::new();
    let url = person.api.url();
    for (words, secret, expect) in [
        (&BY_PASSWORD[..], "wrong", "Email or password is wrong."),
        (
            &["login", "--token", "-"],
            "wrong",
            "The token is not valid.",
        ),
        (
            &["login", "--token", "wrong"],
            "",
            "The token is not valid.",
        ),
    ] {
        let done = run(person.bare(&[words, &[&url]].concat()).write_stdin(secret));
        assert_eq!(done.code, 4, "{words:?}: {}", done.stderr);
        assert!(done.stderr.contains(expect), "{words:?}: {}", done.stderr);
        assert!(!person.credentials_file().exists());
    }
    let empty = run(person
        .bare(&["login", "--token", "-", &url])
        .write_stdin(""));
    assert_eq!(empty.code, 2, "{}", empty.stderr);
}

#[test]
fn an_account_is_made_with_a_password_from_standard_input() {
    let person = Person::new();
    let words = [
        "users:add",
        "grace@example.com",
        "--admin",
        "--password-stdin",
    ];
    let done = run(person.app(&words).write_stdin("eight or more\n"));
    assert_eq!(done.code, 0, "{}", done.stderr);
    let asked = person.api.take_seen();
    let expect =
        r#"POST /users {"email":"grace@example.com","password":"eight or more","role":"admin"}"#;
    assert_eq!(asked, expect);
    assert!(!done.stdout.contains("eight") && !done.stderr.contains("eight"));
}
