//! Pushing: what the pusher sees, what runs afterwards, what stays when it fails.

use std::{fs, process::Command};

use anyhow::{Context, ensure};
use fairway_e2e::{Platform, Repository};

use crate::{OnShared, sample};

pub(crate) const TESTS: &[(&str, OnShared)] = &[
    ("push_dockerfile_over_http", dockerfile_over_http),
    ("push_python_and_the_cache", python_and_the_cache),
    ("push_node", node),
    ("push_static", static_site),
    ("push_over_ssh", over_ssh),
    ("push_another_branch_is_stored", another_branch_is_stored),
    (
        "push_a_failing_build_changes_nothing",
        a_failing_build_changes_nothing,
    ),
    (
        "push_a_crashing_release_rolls_back",
        a_crashing_release_rolls_back,
    ),
    (
        "push_a_failing_release_phase_stops_the_release",
        a_failing_release_phase,
    ),
    (
        "push_survives_the_pushers_connection",
        survives_the_pushers_connection,
    ),
    ("push_loses_no_request", loses_no_request),
    ("push_two_at_once_queue", two_at_once_queue),
];

fn dockerfile_over_http(platform: &Platform) -> anyhow::Result<()> {
    let repository = platform.create_app("docker-http")?;
    sample::docker_app(&repository, "first")?;
    repository.commit("first")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);
    for expected in [
        "remote: -----> ",
        "Released v",
        "http://docker-http.localhost:",
        "Verifying deploy... done.",
    ] {
        ensure!(
            pushed.output.contains(expected),
            "no {expected:?} in:\n{}",
            pushed.output
        );
    }
    ensure!(platform.get("docker-http", "/")? == (200, "first".into()));

    sample::docker_app(&repository, "second")?;
    repository.commit("second")?;
    ensure!(repository.push(&["fairway", "main"])?.ok);
    ensure!(platform.get("docker-http", "/")? == (200, "second".into()));

    let again = repository.push(&["fairway", "main"])?;
    ensure!(
        again.ok && again.output.contains("Everything up-to-date"),
        "{}",
        again.output
    );

    platform.app_ok(&["rollback", "-a", "docker-http"])?;
    ensure!(platform.get("docker-http", "/")? == (200, "first".into()));
    Ok(())
}

fn python_and_the_cache(platform: &Platform) -> anyhow::Result<()> {
    let repository = platform.create_app("python-cache")?;
    repository.copy_example("hello-python")?;
    repository.commit("first")?;
    let first = repository.push(&["fairway", "main"])?;
    ensure!(first.ok, "{}", first.output);
    ensure!(
        first.output.contains("Procfile declares types -> web"),
        "{}",
        first.output
    );
    let (status, body) = platform.get("python-cache", "/")?;
    ensure!(status == 200 && body.contains("Hello"), "{status} {body}");

    let app = repository.path().join("app.py");
    let text = fs::read_to_string(&app)?.replace("Hello", "Goodbye");
    fs::write(&app, text)?;
    repository.commit("one line")?;
    let second = repository.push(&["fairway", "main"])?;
    ensure!(second.ok, "{}", second.output);
    ensure!(
        !second.output.contains("Collecting"),
        "it installed again:\n{}",
        second.output
    );
    let (_, body) = platform.get("python-cache", "/")?;
    ensure!(body.contains("Goodbye"), "{body}");
    Ok(())
}

fn node(platform: &Platform) -> anyhow::Result<()> {
    example_answers(platform, "node-app", "hello-node", "Hello")
}

fn static_site(platform: &Platform) -> anyhow::Result<()> {
    example_answers(platform, "static-site", "hello-static", "Hello")
}

fn example_answers(p: &Platform, app: &str, example: &str, text: &str) -> anyhow::Result<()> {
    let repository = p.create_app(app)?;
    repository.copy_example(example)?;
    repository.commit("first")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);
    let (status, body) = p.get(app, "/")?;
    ensure!(status == 200 && body.contains(text), "{status} {body}");
    Ok(())
}

fn over_ssh(platform: &Platform) -> anyhow::Result<()> {
    let repository = platform.create_app("over-ssh")?;
    let key = repository.path().join(".git/key");
    let status = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "tester", "-f"])
        .arg(&key)
        .status()?;
    ensure!(status.success(), "ssh-keygen failed");
    let ssh = format!(
        "ssh -i {} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no \
         -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
        key.display()
    );
    repository.git(&["config", "core.sshCommand", &ssh])?;
    let port = platform.addresses().ssh.port();
    let url = format!("ssh://git@127.0.0.1:{port}/over-ssh.git");
    repository.git(&["remote", "set-url", "fairway", &url])?;
    sample::docker_app(&repository, "by ssh")?;
    repository.commit("first")?;

    let refused = repository.push(&["fairway", "main"])?;
    ensure!(!refused.ok, "an unknown key may push:\n{}", refused.output);

    let public = key.with_extension("pub");
    platform.app_ok(&["keys:add", &public.to_string_lossy()])?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(
        pushed.ok && pushed.output.contains("Released v"),
        "{}",
        pushed.output
    );
    ensure!(platform.get("over-ssh", "/")? == (200, "by ssh".into()));
    Ok(())
}

fn another_branch_is_stored(platform: &Platform) -> anyhow::Result<()> {
    let repository = platform.create_app("branches")?;
    sample::docker_app(&repository, "branch")?;
    repository.commit("first")?;
    let pushed = repository.push(&["fairway", "main:feature"])?;
    ensure!(pushed.ok, "{}", pushed.output);
    ensure!(pushed.output.contains("not deployed"), "{}", pushed.output);
    ensure!(
        platform.get("branches", "/")?.0 == 503,
        "nothing was deployed yet"
    );
    ensure!(
        repository
            .git(&["ls-remote", "fairway"])?
            .contains("refs/heads/feature")
    );
    Ok(())
}

fn a_failing_build_changes_nothing(platform: &Platform) -> anyhow::Result<()> {
    let (repository, head) = deployed(platform, "bad-build", "good")?;
    repository.write(
        "Dockerfile",
        "FROM fairway/run:bookworm\nRUN echo boom >&2; exit 7\n",
    )?;
    repository.commit("bad")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(
        !pushed.ok && pushed.output.contains("pre-receive hook declined"),
        "{}",
        pushed.output
    );
    ensure!(
        pushed.output.contains("boom"),
        "the build's output is missing:\n{}",
        pushed.output
    );
    unchanged(platform, &repository, "bad-build", &head, "good")
}

fn a_crashing_release_rolls_back(platform: &Platform) -> anyhow::Result<()> {
    let (repository, head) = deployed(platform, "bad-release", "good")?;
    repository.write(
        "server.py",
        "print('last words', flush=True)\nraise SystemExit(9)\n",
    )?;
    repository.commit("bad")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(
        !pushed.ok && pushed.output.contains("pre-receive hook declined"),
        "{}",
        pushed.output
    );
    for expected in ["code 9", "last words"] {
        ensure!(
            pushed.output.contains(expected),
            "no {expected:?} in:\n{}",
            pushed.output
        );
    }
    unchanged(platform, &repository, "bad-release", &head, "good")
}

fn a_failing_release_phase(platform: &Platform) -> anyhow::Result<()> {
    let (repository, head) = deployed(platform, "release-phase", "good")?;
    repository.write(
        "Procfile",
        "web: python3 server.py\nrelease: sh -c 'echo migrating; exit 4'\n",
    )?;
    sample::docker_app(&repository, "bad")?;
    repository.commit("bad")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(
        !pushed.ok && pushed.output.contains("migrating"),
        "{}",
        pushed.output
    );
    unchanged(platform, &repository, "release-phase", &head, "good")?;

    repository.write(
        "Procfile",
        "web: python3 server.py\nrelease: sh -c 'echo migrating'\n",
    )?;
    repository.commit("good again")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(
        pushed.ok && pushed.output.contains("migrating"),
        "{}",
        pushed.output
    );
    ensure!(platform.get("release-phase", "/")? == (200, "bad".into()));
    Ok(())
}

fn survives_the_pushers_connection(platform: &Platform) -> anyhow::Result<()> {
    let repository = platform.create_app("dropped")?;
    sample::docker_app(&repository, "finished alone")?;
    repository.write(
        "Dockerfile",
        "FROM fairway/run:bookworm\nWORKDIR /app\nRUN echo building && sleep 3\nCOPY . .\n\
         CMD [\"python3\", \"server.py\"]\n",
    )?;
    let head = repository.commit("first")?;
    let (mut push, output) = repository.start_push(&["fairway", "main"])?;
    wait("the build has started", || {
        Ok(fs::read_to_string(&output)?.contains("building"))
    })?;
    // git's own helper process holds the connection; the group goes with it.
    push.kill()?;
    push.wait()?;
    wait("the push is finished without its pusher", || {
        Ok(repository
            .git(&["ls-remote", "fairway", "refs/heads/main"])?
            .starts_with(&head))
    })?;
    ensure!(platform.get("dropped", "/")? == (200, "finished alone".into()));
    let log = platform.app_ok(&["builds:output", "-a", "dropped"])?;
    ensure!(log.contains("Verifying deploy... done."), "{log}");
    Ok(())
}

fn loses_no_request(platform: &Platform) -> anyhow::Result<()> {
    let (repository, _) = deployed(platform, "no-loss", "round 0")?;
    platform.app_ok(&["ps:scale", "web=2", "-a", "no-loss"])?;
    let port = platform.addresses().http.port();
    let stop = repository.path().join(".git/stop");
    let script = format!(
        "n=0; while [ ! -e {stop} ]; do curl -sf --max-time 20 -o /dev/null \
         http://no-loss.localhost:{port}/ || {{ echo lost $?; exit 1; }}; n=$((n+1)); done; echo $n",
        stop = stop.display()
    );
    let clients: Vec<_> = (0..4)
        .map(|_| {
            Command::new("sh")
                .args(["-c", &script])
                .stdout(std::process::Stdio::piped())
                .spawn()
        })
        .collect::<Result<_, _>>()?;
    for round in 1..=2 {
        sample::docker_app(&repository, &format!("round {round}"))?;
        repository.commit("next")?;
        let pushed = repository.push(&["fairway", "main"])?;
        ensure!(pushed.ok, "{}", pushed.output);
    }
    fs::write(&stop, "")?;
    for client in clients {
        let output = client.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "a client lost a request: {text}");
        ensure!(text.trim().parse::<u32>()? > 0, "a client sent no request");
    }
    Ok(())
}

fn two_at_once_queue(platform: &Platform) -> anyhow::Result<()> {
    let first = platform.create_app("queue")?;
    sample::docker_app(&first, "one")?;
    first.write(
        "Dockerfile",
        "FROM fairway/run:bookworm\nWORKDIR /app\nRUN echo building && sleep 3\nCOPY . .\n\
         CMD [\"python3\", \"server.py\"]\n",
    )?;
    let commit = first.commit("one")?;
    let (mut push, output) = first.start_push(&["fairway", "main"])?;
    wait("the first build has started", || {
        Ok(fs::read_to_string(&output)?.contains("building"))
    })?;

    // Pushed to the other deploy branch, since git would refuse a second main as stale.
    sample::docker_app(&first, "two")?;
    first.commit("two")?;
    let second = first.push(&["fairway", "main:master"])?;
    ensure!(second.ok, "{}", second.output);
    ensure!(
        second.output.contains("admin@localhost"),
        "whose build?\n{}",
        second.output
    );
    ensure!(
        second.output.contains(&commit[..8]),
        "which build?\n{}",
        second.output
    );
    ensure!(push.wait()?.success(), "{}", fs::read_to_string(&output)?);
    ensure!(platform.get("queue", "/")? == (200, "two".into()));
    Ok(())
}

/// An app that runs, and the commit it runs.
fn deployed(platform: &Platform, app: &str, text: &str) -> anyhow::Result<(Repository, String)> {
    let repository = platform.create_app(app)?;
    sample::docker_app(&repository, text)?;
    let head = repository.commit("good")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);
    ensure!(platform.get(app, "/")? == (200, text.into()));
    Ok((repository, head))
}

/// After a refused push: the ref and the running release are what they were.
fn unchanged(
    platform: &Platform,
    repository: &Repository,
    app: &str,
    head: &str,
    text: &str,
) -> anyhow::Result<()> {
    let remote = repository.git(&["ls-remote", "fairway", "refs/heads/main"])?;
    ensure!(remote.starts_with(head), "the ref moved to {remote}");
    ensure!(platform.get(app, "/")? == (200, text.into()));
    let name = app.parse().context("an app name")?;
    let containers = platform.containers(&name)?;
    ensure!(containers.len() == 1, "{containers:?}");
    Ok(())
}

/// Waits for a condition; see [`fairway_e2e::eventually`].
pub(crate) fn wait(
    what: &str,
    mut look: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(fairway_e2e::eventually(what, || {
        let found = look();
        async move { Ok(found?.then_some(())) }
    }))
}
