//! The programs that make and mount file systems. An operator can repeat each step by hand.

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

/// How long one may take, in seconds: checking a large file system after a power cut takes a while.
const PROGRAM_SECS: u64 = 600;

/// Runs one; its exit code if it is among those that are fine, else what it said.
pub(super) async fn run(
    program: &str,
    arguments: &[&str],
    fine: impl Fn(i32) -> bool,
) -> Result<i32, String> {
    let running = command(program)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(Duration::from_secs(PROGRAM_SECS), running)
        .await
        .map_err(|_| format!("{program} did not end within {PROGRAM_SECS} seconds"))?
        .map_err(|error| {
            format!("cannot run {program} ({error}); install it (Debian: e2fsprogs, mount, tar)")
        })?;
    match output.status.code() {
        Some(code) if fine(code) => Ok(code),
        _ => Err(format!("{program}: {}", said(&output.stderr))),
    }
}

/// The last thing that a program said, which is mostly why it gave up.
pub(super) fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .next_back()
        .unwrap_or("it failed without a word")
        .to_owned()
}

/// The program, also where PATH has no sbin (Debian's for ordinary users).
pub(super) fn command(program: &str) -> Command {
    let sbin = ["/usr/sbin", "/sbin"].map(|dir| Path::new(dir).join(program));
    let mut command = match sbin.iter().find(|path| path.exists()) {
        Some(path) => Command::new(path),
        None => Command::new(program),
    };
    // What they say is shown, and searched by nobody.
    command.env("LC_ALL", "C");
    command
}
