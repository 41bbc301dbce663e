//! `ps:exec`, `ps:forward` and `ps:copy` against a scripted pod's end.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Command as Process, Stdio},
};

use crate::{
    fake_api::TOKEN,
    person::{Person, run},
};

#[test]
fn exec_passes_streams_and_exit_code_on() {
    let person = Person::new();
    let done = run(&mut person.shop(&["ps:exec", "-d", "worker.2", "--", "exit", "7"]));
    assert_eq!(
        (done.code, done.stdout.as_str(), done.stderr.as_str()),
        (7, "to stdout\n", "to stderr\n")
    );
    let asked = person.api.take_seen();
    assert!(
        asked.contains(r#"/dynos/worker.2/sessions {"kind":"exec","command":["exit","7"],"tty":false,"term":null}"#),
        "{asked}"
    );
    // Bytes that are no text, and more of them than any buffer holds.
    let input: Vec<u8> = (0..=255).cycle().take(1_000_000).collect();
    let mut cat = person.shop(&["ps:exec", "cat"]);
    let output = cat.write_stdin(input.clone()).output().unwrap();
    assert!(output.status.success() && output.stdout == input);

    for (words, code, expect) in [
        (&["ps:exec", "fails"][..], 1, "no node has room for it"),
        (
            &["ps:exec", "lost"],
            1,
            "the connection to web.1 was lost, and with it the command",
        ),
        (&["ps:exec", "-d", "web.9", "ls"], 3, "There is no"),
        (
            &["ps:exec", "--json", "ls"],
            2,
            "--json has no meaning here",
        ),
        (&["ps:forward", "x"], 2, "is no port"),
        (
            &["ps:copy", "a", "b"],
            2,
            "neither path stands in a process",
        ),
        (
            &["ps:copy", "web.1:a", "web.1:b"],
            2,
            "both paths stand in a process",
        ),
        (&["ps:copy", "none", "web.1:b"], 1, "cannot read none"),
    ] {
        let done = run(&mut person.shop(words));
        assert_eq!(done.code, code, "{words:?}: {}", done.stderr);
        assert!(done.stderr.contains(expect), "{words:?}: {}", done.stderr);
    }
}

#[test]
fn forward_carries_connections_until_the_process_ends() {
    let person = Person::new();
    let mut forward = Process::new(env!("CARGO_BIN_EXE_app"))
        .args(["ps:forward", "0:8080", "--json"])
        .env("FAIRWAY_URL", person.api.url())
        .env("FAIRWAY_TOKEN", TOKEN)
        .env("FAIRWAY_APP", "shop")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(forward.stdout.take().unwrap()).lines();
    while !said.contains(']') {
        said.push_str(&lines.next().unwrap().unwrap());
    }
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said[0]["port"], 8080);
    let address = said[0]["address"].as_str().unwrap();
    let connect = || TcpStream::connect(address).unwrap();
    let mut connections = [connect(), connect(), connect()];
    for (nth, connection) in connections.iter_mut().enumerate() {
        connection.write_all(format!("{nth}").as_bytes()).unwrap();
        connection.shutdown(Shutdown::Write).unwrap();
        let mut back = String::new();
        connection.read_to_string(&mut back).unwrap();
        assert_eq!(back, format!("{nth}{nth}"));
    }
    let output = forward.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("is port 8080 of web.1"), "{told}");
    assert!(told.contains("web.1 was killed by SIGKILL"), "{told}");
}

#[test]
fn copies_keep_modes_and_leave_out_what_leads_away() {
    let person = Person::new();
    let here = |name: &str| person.work().join(name);
    let done = run(&mut person.shop(&["ps:copy", "web.1:/app/x", "mine"]));
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(
        done.stderr
            .contains("left out x/out: a symlink out of the copy"),
        "{}",
        done.stderr
    );
    assert_eq!(fs::read(here("mine/file")).unwrap(), b"\0data\n");
    let mode = |name: &str| fs::metadata(here(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("mine/file"), mode("mine/run")), (0o640, 0o755));
    assert!(!here("mine/out").is_symlink());
    // Into a folder that is there.
    run(&mut person.shop(&["ps:copy", "web.1:/app/x", "."]));
    assert!(here("x/file").is_file());

    person.api.take_seen();
    let done = run(&mut person.shop(&["ps:copy", "mine", "web.1:/tmp/new"]));
    assert_eq!(done.code, 0, "{}", done.stderr);
    let asked = person.api.take_seen();
    assert!(
        asked.contains(r#"{"kind":"copy-to","path":"/tmp/new"}"#),
        "{asked}"
    );
    assert!(
        asked.contains("new 755 0, new/file 640 6, new/run 755 10"),
        "{asked}"
    );
}
