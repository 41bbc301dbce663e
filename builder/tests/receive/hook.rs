//! The hook program by itself: it has to end whatever happens around it.

use std::{
    io::{Read, Write},
    os::unix::net::UnixListener,
    process::{Command, ExitStatus, Stdio},
};

use crate::{controller::WAIT, platform::hook_program};

const UPDATE: &[u8] = b"0000000000000000000000000000000000000000 \
    1111111111111111111111111111111111111111 refs/heads/main\n";

/// Runs the hook against a builder that answers with these bytes and leaves; nobody reads what the
/// hook prints unless `listen`.
fn run(answer: &[u8], listen: bool) -> (ExitStatus, String) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut hook = Command::new(hook_program())
        .env("FAIRWAY_HOOK_SOCKET", &socket)
        .env("FAIRWAY_HOOK_TOKEN", "token")
        .env("GIT_QUARANTINE_PATH", "/quarantine")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    hook.stdin.take().unwrap().write_all(UPDATE).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = String::new();
    stream.read_to_string(&mut request).unwrap();
    assert!(request.contains("\"token\":\"token\"") && request.contains("refs/heads/main"));
    assert!(request.contains("/quarantine"));
    stream.write_all(answer).unwrap();
    drop(stream);
    let mut stderr = hook.stderr.take().unwrap();
    let mut said = String::new();
    if listen {
        stderr.read_to_string(&mut said).unwrap();
    }
    let id = rustix::process::Pid::from_child(&hook);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(hook.wait()));
    let Ok(status) = told.recv_timeout(WAIT) else {
        rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
        panic!("the hook hangs");
    };
    (status.unwrap(), said)
}

fn text(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap().to_be_bytes();
    [b"t", &length[..], text].concat()
}

#[test]
fn it_says_and_ends_what_and_as_it_is_told() {
    for code in [0, 1, 7] {
        let (status, said) = run(
            &[text(b"one\n"), text(b"two\n"), vec![b'x', code]].concat(),
            true,
        );
        assert_eq!(
            (status.code(), said.as_str()),
            (Some(i32::from(code)), "one\ntwo\n")
        );
    }
}

#[test]
fn a_builder_that_leaves_means_no() {
    for answer in [&b""[..], &text(b"half")[..6], b"t\xff\xff\xff\xff", b"?"] {
        let (status, said) = run(answer, true);
        assert_eq!(status.code(), Some(1), "{answer:?}");
        assert!(said.contains("Push again"), "{said}");
    }
}

#[test]
fn it_ends_when_nobody_reads_what_it_prints() {
    let much = text(&[b'a'; 60_000]).repeat(20);
    let (status, _) = run(&much, false);
    assert_eq!(status.code(), Some(1));
}

#[test]
fn by_itself_it_refuses() {
    let mut hook = Command::new(hook_program());
    hook.env_remove("FAIRWAY_HOOK_SOCKET")
        .env("FAIRWAY_HOOK_TOKEN", "token");
    let output = hook.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("FAIRWAY_HOOK_SOCKET is not set"));
}
