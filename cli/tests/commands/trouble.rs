//! Servers that are away or strange, editors that fail, keys that are private.

use std::{fs, io::Read, net::TcpListener, os::unix::fs::PermissionsExt};

use crate::person::{Person, run};

#[test]
fn a_server_that_cannot_be_used_is_told() {
    let person = Person::new();
    // A port that nobody listens on: bound, and given back.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for (url, code, expect) in [
        (
            &*format!("http://{free}"),
            5,
            "Is it running? Start it with bin/up",
        ),
        (
            &*format!("{}/elsewhere", person.api.url()),
            3,
            "There is no elsewhere account",
        ),
        (
            "localhost:7000",
            2,
            "is not the address of a Fairway server",
        ),
        (
            "http://ada:hunter2@localhost:7000",
            2,
            "leave user and password out",
        ),
    ] {
        let done = run(person
            .bare(&["whoami"])
            .env("FAIRWAY_URL", url)
            .env("FAIRWAY_TOKEN", crate::fake_api::TOKEN));
        assert_eq!(done.code, code, "{url}: {}", done.stderr);
        assert!(done.stderr.contains(expect), "{url}: {}", done.stderr);
        assert!(!done.stderr.contains("hunter2"));
    }
    let nobody = run(person.bare(&["apps"]).env("FAIRWAY_URL", person.api.url()));
    assert_eq!(nobody.code, 4);
    assert!(
        nobody
            .stderr
            .contains("you are not logged in to http://127"),
        "{}",
        nobody.stderr
    );
    assert!(
        nobody.stderr.contains("app login http://127"),
        "{}",
        nobody.stderr
    );
}

#[test]
fn something_that_is_not_fairway_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let read = stream.read(&mut request).unwrap();
        assert!(read > 0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
            .unwrap();
    });
    let person = Person::new();
    let url = format!("http://{address}");
    let done = run(person
        .bare(&["whoami"])
        .env("FAIRWAY_URL", url)
        .env("FAIRWAY_TOKEN", "x"));
    server.join().unwrap();
    assert_eq!(done.code, 5);
    assert!(
        done.stderr.contains("did not answer as Fairway"),
        "{}",
        done.stderr
    );
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let person = Person::new();
    let script = format!("set -o pipefail; {} apps | true", env!("CARGO_BIN_EXE_app"));
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .env("FAIRWAY_URL", person.api.url())
        .env("FAIRWAY_TOKEN", crate::fake_api::TOKEN)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}

fn editor(person: &Person, script: &str) -> String {
    let path = person.home().join("editor with space");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    format!("'{}' --wait", path.display())
}

#[test]
fn config_edit_sends_only_what_was_changed() {
    let person = Person::new();
    let edit = r#"test "$1" = --wait || exit 9
stat -c %a "$2" > "$HOME/mode"; echo "$2" > "$HOME/path"; cp "$2" "$HOME/seen"
sed -i -e 's/^GREETING=.*/GREETING=hi/' -e '/^LIMIT/d' "$2"; printf '%s\n' 'NEW="a\nb"' >> "$2""#;
    let done = run(person
        .shop(&["config:edit"])
        .env("EDITOR", editor(&person, edit)));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(
        done.stderr
            .contains("Set GREETING, NEW and unset LIMIT of shop"),
        "{}",
        done.stderr
    );
    let asked = person.api.take_seen();
    let expect = r#"PATCH /apps/shop/config-vars {"GREETING":"hi","LIMIT":null,"NEW":"a\nb"}"#;
    assert!(asked.contains(expect), "{asked}");
    let read = |name: &str| fs::read_to_string(person.home().join(name)).unwrap();
    assert_eq!(read("mode"), "600\n", "others could read the secrets");
    assert!(
        !fs::exists(read("path").trim()).unwrap(),
        "the secrets were left behind"
    );
    assert!(
        read("seen").contains("GREETING=hello world\nKEY=\"-----BEGIN\\nabc\\n\"\n"),
        "{}",
        read("seen")
    );
}

#[test]
fn config_edit_changes_nothing_when_the_editor_fails_or_the_text_is_wrong() {
    let person = Person::new();
    for (script, code, expect) in [
        ("true", 0, "Nothing was changed."),
        (
            "exit 3",
            1,
            "failed (exit status: 3)\n       Nothing was changed.",
        ),
        ("echo nonsense >> \"$2\"", 2, "line 5: write NAME=value"),
        ("rm \"$2\"", 1, "cannot read the edited file"),
    ] {
        let done = run(person
            .shop(&["config:edit"])
            .env("VISUAL", editor(&person, script)));
        assert_eq!(done.code, code, "{script}: {}", done.stderr);
        assert!(done.stderr.contains(expect), "{script}: {}", done.stderr);
        assert!(!person.api.take_seen().contains("PATCH"), "{script}");
    }
}

#[test]
fn keys_are_found_and_private_ones_never_sent() {
    let person = Person::new();
    let ssh = person.home().join(".ssh");
    fs::create_dir(&ssh).unwrap();
    let none = run(&mut person.app(&["keys:add"]));
    assert_eq!(none.code, 2);
    assert!(none.stderr.contains("ssh-keygen"), "{}", none.stderr);
    fs::write(ssh.join("id_rsa.pub"), "ssh-rsa AAAA ada@old\n").unwrap();
    run(&mut person.app(&["keys:add"]));
    assert!(
        person
            .api
            .take_seen()
            .contains(r#"{"public_key":"ssh-rsa AAAA ada@old"}"#)
    );
    fs::write(ssh.join("id_ed25519.pub"), "ssh-ed25519 AAAA ada@new\n").unwrap();
    run(&mut person.app(&["keys:add"]));
    assert!(person.api.take_seen().contains("ssh-ed25519 AAAA ada@new"));
    for (content, expect) in [
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n",
            "holds a private key; it was not sent",
        ),
        ("", "holds no key"),
        ("ssh-rsa A\nssh-rsa B\n", "holds more than one key"),
    ] {
        let done = run(person.app(&["keys:add", "-"]).write_stdin(content));
        assert_eq!(done.code, 2, "{content}: {}", done.stderr);
        assert!(done.stderr.contains(expect), "{content}: {}", done.stderr);
        assert_eq!(person.api.take_seen(), "");
    }
}

#[test]
fn the_output_of_a_failed_build_ends_in_a_failure() {
    let person = Person::new();
    let good = run(&mut person.shop(&["builds:output"]));
    assert_eq!((good.code, good.stderr.as_str()), (0, ""));
    assert_eq!(good.stdout, "-----> Python\n-----> Released v7\n");
    let bad = run(&mut person.shop(&["builds:output", crate::fixtures::BUILD_BAD]));
    assert_eq!(bad.code, 1);
    assert_eq!(bad.stdout, "-----> Python\n !     pip failed\n");
    assert!(
        bad.stderr.contains("the build failed: pip ended"),
        "{}",
        bad.stderr
    );
}
