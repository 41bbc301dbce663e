//! How releases take over, with requests under way all the time.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use anyhow::ensure;
use fairway_e2e::{Platform, Repository};

use crate::{OnShared, push::wait, sample};

pub(crate) const TESTS: &[(&str, OnShared)] = &[
    (
        "rollout_a_bad_canary_is_taken_back",
        a_bad_canary_is_taken_back,
    ),
    (
        "rollout_rolling_and_a_revert_lose_nothing",
        rolling_and_a_revert_lose_nothing,
    ),
];

/// Clients that ask for `/shop` one request after the other, and note status and body of each.
struct Visitors {
    clients: Vec<Child>,
    stop: std::path::PathBuf,
}

impl Visitors {
    fn come(platform: &Platform, repository: &Repository, app: &str) -> anyhow::Result<Self> {
        let port = platform.addresses().http.port();
        let stop = repository.path().join(".git/stop");
        let script = format!(
            "while [ ! -e {stop} ]; do curl -s --noproxy '*' --max-time 20 \
             --resolve {app}.localhost:{port}:127.0.0.1 -w ' %{{http_code}}\\n' \
             http://{app}.localhost:{port}/shop || echo lost; done",
            stop = stop.display()
        );
        let clients = (0..3).map(|_| {
            Command::new("sh")
                .args(["-c", &script])
                .stdout(Stdio::piped())
                .spawn()
        });
        let clients = clients.collect::<Result<_, _>>()?;
        Ok(Self { clients, stop })
    }

    /// Sends them home; what each of them was answered.
    fn go(self) -> anyhow::Result<Vec<String>> {
        fs::write(&self.stop, "")?;
        let mut answers = vec![];
        for client in self.clients {
            let output = client.wait_with_output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            answers.extend(text.lines().map(str::to_owned));
        }
        fs::remove_file(&self.stop)?;
        Ok(answers)
    }
}

fn deployed(platform: &Platform, app: &str, pods: u32) -> anyhow::Result<Repository> {
    let repository = platform.create_app(app)?;
    sample::docker_app(&repository, "first")?;
    repository.commit("first")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);
    platform.app_ok(&["ps:scale", &format!("web={pods}"), "-a", app])?;
    let name = app.parse()?;
    wait("all pods run", || {
        Ok(platform.containers(&name)?.len() == pods as usize)
    })?;
    Ok(repository)
}

fn a_bad_canary_is_taken_back(platform: &Platform) -> anyhow::Result<()> {
    let app = "canary";
    let repository = deployed(platform, app, 2)?;
    let first = repository.head()?;
    platform.app_ok(&[
        "deploy:strategy",
        "canary",
        "20%:1h",
        "50%:1h",
        "--requests",
        "30",
        "-a",
        app,
    ])?;
    // It starts well, and answers only what visitors want with errors.
    let bad = sample::server("second").replace(
        "send_response(200)",
        "send_response(500 if self.path == \"/shop\" else 200)",
    );
    repository.write("server.py", &bad)?;
    repository.commit("second")?;

    let visitors = Visitors::come(platform, &repository, app)?;
    let pushed = repository.push(&["fairway", "main"])?;
    let answers = visitors.go()?;
    ensure!(!pushed.ok, "{}", pushed.output);
    for expected in [
        "Canary: 20% of the requests go to v2 for 1h",
        "Release v2 failed: the canary did worse: 100.0% of its",
        "v1 keeps running",
    ] {
        let said = pushed.output.contains(expected);
        ensure!(said, "no {expected:?} in:\n{}", pushed.output);
    }
    let count = |what: &str| answers.iter().filter(|it| *it == what).count();
    let (good, failed) = (count("first 200"), count("second 500"));
    let all = answers.len();
    ensure!(good + failed == all, "what else came of {all} requests?");
    ensure!(failed >= 30, "judged after {failed} requests");
    ensure!(
        good > failed * 2,
        "{failed} of {all} requests went to the canary"
    );
    // From then on nobody meets it any more, and the branch is where it was.
    for _ in 0..20 {
        ensure!(platform.get(app, "/shop")? == (200, "first".into()));
    }
    let branch = repository.git(&["ls-remote", "fairway", "main"])?;
    ensure!(branch.starts_with(&first), "{branch}");
    let listed = platform.app_ok(&["deploy", "-a", app])?;
    ensure!(listed.contains("canary 20%:1h 50%:1h"), "{listed}");
    Ok(())
}

fn rolling_and_a_revert_lose_nothing(platform: &Platform) -> anyhow::Result<()> {
    let app = "rolling";
    let repository = deployed(platform, app, 3)?;
    platform.app_ok(&["deploy:strategy", "rolling", "--surge", "1", "-a", app])?;
    let visitors = Visitors::come(platform, &repository, app)?;
    sample::docker_app(&repository, "second")?;
    repository.commit("second")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);
    for expected in [
        "-----> Rolling out...",
        "1 of 3 pods",
        "2 of 3 pods",
        "Released v2",
    ] {
        let said = pushed.output.contains(expected);
        ensure!(said, "no {expected:?} in:\n{}", pushed.output);
    }

    platform.app_ok(&["deploy:strategy", "all-at-once", "--bake", "1h", "-a", app])?;
    sample::docker_app(&repository, "third")?;
    repository.commit("third")?;
    let name = app.parse()?;
    wait("the last of the old pods stop", || {
        Ok(platform.containers(&name)?.len() == 3)
    })?;
    let warm = platform.containers(&name)?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);
    ensure!(platform.get(app, "/")? == (200, "third".into()));
    let rolled = platform.app_ok(&["rollback", "v2", "-a", app, "--json"])?;
    ensure!(
        rolled.contains("\"version\":2") || rolled.contains("\"version\": 2"),
        "{rolled}"
    );
    wait("the second release serves again", || {
        Ok(platform.get(app, "/")? == (200, "second".into()))
    })?;
    wait("the pods that were kept are all that run", || {
        Ok(platform.containers(&name)? == warm)
    })?;
    let answers = visitors.go()?;
    let good = ["first 200", "second 200", "third 200"];
    for answer in &answers {
        ensure!(good.contains(&answer.as_str()), "a visitor got {answer:?}");
    }
    for wanted in good {
        ensure!(
            answers.iter().any(|it| it == wanted),
            "nobody got {wanted:?}"
        );
    }
    Ok(())
}
