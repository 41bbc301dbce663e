//! What survives: SIGKILL of the whole platform at any moment, and a machine that reboots.

use std::{fs, process::Command};

use anyhow::ensure;
use fairway_e2e::{Platform, Repository};

use crate::{Alone, push::wait, sample};

pub(crate) const TESTS: &[(&str, Alone)] =
    &[("keep_everything_over_kill_and_reboot", kill_and_reboot)];

fn kill_and_reboot() -> anyhow::Result<()> {
    let mut platform = Platform::start()?;
    let repository = platform.create_app("kept")?;
    sample::docker_app(&repository, "kept")?;
    let head = repository.commit("first")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);
    let app = "kept".parse()?;
    let before = platform.containers(&app)?;

    // In the middle of a build.
    repository.write(
        "Dockerfile",
        "FROM fairway/run:bookworm\nRUN echo building && sleep 30\nCMD [\"true\"]\n",
    )?;
    repository.commit("interrupted")?;
    let (mut push, output) = repository.start_push(&["fairway", "main"])?;
    wait("the build has started", || {
        Ok(fs::read_to_string(&output)?.contains("building"))
    })?;
    platform.kill();
    push.wait()?;
    platform.start_again()?;
    ensure!(
        platform.containers(&app)? == before,
        "pods were restarted instead of adopted"
    );
    wait("the app answers", || {
        Ok(platform.get("kept", "/")? == (200, "kept".into()))
    })?;
    let remote = repository.git(&["ls-remote", "fairway", "refs/heads/main"])?;
    ensure!(remote.starts_with(&head), "the ref moved to {remote}");

    // A push after it works as ever: the builder said at its start that it runs nothing, which
    // ended the dead build before its lease was over.
    sample::docker_app(&repository, "after")?;
    repository.commit("after")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);
    let builds = platform.app_ok(&["builds", "-a", "kept", "--json"])?;
    ensure!(
        builds.contains("the build was interrupted by a restart of the builder"),
        "{builds}"
    );

    die_in_a_release(&mut platform, &repository)?;

    // A reboot: everything is gone but what is on disk.
    platform.kill();
    for container in platform.containers(&app)? {
        // A pod of the release before may just have ended by itself; that is as good.
        Command::new("docker").args(["kill", &container]).output()?;
    }
    ensure!(
        platform.containers(&app)?.is_empty(),
        "a container outlived the reboot"
    );
    platform.start_again()?;
    wait("the app is back", || {
        Ok(platform.get("kept", "/")? == (200, "live".into()))
    })
}

/// Killed in the middle of a release: it goes live all the same, and its branch moves with it.
fn die_in_a_release(platform: &mut Platform, repository: &Repository) -> anyhow::Result<()> {
    repository.write(
        "Dockerfile",
        "FROM fairway/run:bookworm\nWORKDIR /app\nCOPY . .\n\
         CMD [\"sh\", \"-c\", \"sleep 5; exec python3 server.py\"]\n",
    )?;
    repository.write("server.py", &sample::server("live"))?;
    let live = repository.commit("live")?;
    let (mut push, output) = repository.start_push(&["fairway", "main"])?;
    wait("the release has begun", || {
        Ok(fs::read_to_string(&output)?.contains("Launching"))
    })?;
    platform.kill();
    push.wait()?;
    platform.start_again()?;
    wait("the release is live", || {
        Ok(platform.get("kept", "/")? == (200, "live".into()))
    })?;
    wait("its branch has moved", || {
        let remote = repository.git(&["ls-remote", "fairway", "refs/heads/main"])?;
        Ok(remote.starts_with(&live))
    })?;
    Ok(())
}
