//! The `fairway` command as an operator types it: what mistakes are told.

use std::{fs, net::TcpListener};

use assert_cmd::Command;
use tempfile::TempDir;

/// `fairway up` in a directory of its own, on ports that the kernel picks.
fn up(dir: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
    command
        .current_dir(dir.path())
        .env_clear()
        .arg("up")
        .arg("--data")
        .arg(dir.path().join("data"));
    for listen in ["api", "ssh", "registry", "http", "cluster"] {
        command.args([&format!("--listen-{listen}"), "127.0.0.1:0"]);
    }
    command
}

fn refused(mut command: Command) -> String {
    let output = command.assert().failure().get_output().clone();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_unknown_setting_is_named_with_the_nearest_known_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("fairway.toml"),
        "base-domian = \"example.com\"\n",
    )
    .unwrap();
    let text = refused(up(&dir));
    assert!(
        text.contains("\"base-domian\"") && text.contains("\"base-domain\""),
        "{text}"
    );
}

#[test]
fn a_wrong_value_is_named_with_its_rule() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = up(&dir);
    command.args(["--base-domain", "not a host"]);
    let text = refused(command);
    assert!(
        text.contains("--base-domain") && text.contains("1 to 63"),
        "{text}"
    );
}

#[test]
fn a_settings_file_that_is_not_there_is_an_error_only_if_it_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = up(&dir);
    command.args(["--config", "missing.toml"]);
    let text = refused(command);
    assert!(text.contains("missing.toml"), "{text}");
}

#[test]
fn missing_buildpacks_are_told_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = up(&dir);
    command.args(["--buildpacks", "nowhere"]);
    let text = refused(command);
    assert!(
        text.contains("nowhere") && text.contains("builder.toml"),
        "{text}"
    );
    assert!(
        !dir.path().join("data").exists(),
        "a data directory was made all the same"
    );
}

#[test]
fn a_taken_port_is_named_with_its_flag() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let buildpacks = dir.path().join("buildpacks");
    fs::create_dir(&buildpacks).unwrap();
    fs::write(buildpacks.join("builder.toml"), "").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
    command
        .current_dir(dir.path())
        .env_clear()
        .args(["up", "--data", "data", "--buildpacks", "buildpacks"])
        .args(["--listen-api", &taken.local_addr().unwrap().to_string()]);
    let text = refused(command);
    assert!(text.contains("--listen-api"), "{text}");
}

#[test]
fn an_engine_that_is_not_there_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = up(&dir);
    let buildpacks = concat!(env!("CARGO_MANIFEST_DIR"), "/../buildpacks");
    command
        .args(["--buildpacks", buildpacks])
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let text = refused(command);
    assert!(
        text.contains("the Docker engine is not running: nobody listens on /nowhere/docker.sock"),
        "{text}"
    );
    assert!(
        text.contains("systemctl start docker") && !text.contains("hyper"),
        "{text}"
    );
}

#[test]
fn a_password_cannot_be_reset_where_no_fairway_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairway"));
    command
        .env_clear()
        .args(["account:reset-password", "ada@example.com", "--data"])
        .arg(dir.path());
    let text = refused(command);
    assert!(text.contains("--data"), "{text}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
