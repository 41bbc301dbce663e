//! What bad input gets: a message that says what to do, the right exit code, nothing half-done.

use anyhow::ensure;
use fairway_e2e::{Platform, Repository};

use crate::{OnShared, sample};

pub(crate) const TESTS: &[(&str, OnShared)] = &[
    ("bad_remote_and_credential", remote_and_credential),
    ("bad_sources", sources),
    ("bad_ports", ports),
    ("slow_start_is_fine", slow_start_is_fine),
];

fn remote_and_credential(platform: &Platform) -> anyhow::Result<()> {
    let repository = platform.create_app("bad-remote")?;
    sample::docker_app(&repository, "x")?;
    repository.commit("first")?;
    repository.git(&[
        "remote",
        "set-url",
        "fairway",
        &format!("{}/no-such-app.git", platform.url()),
    ])?;
    let unknown = repository.push(&["fairway", "main"])?;
    ensure!(
        !unknown.ok && unknown.output.contains("no-such-app"),
        "{}",
        unknown.output
    );

    let stranger = Repository::new(&fairway_api::secret::Secret::new("wrong"))?;
    sample::docker_app(&stranger, "x")?;
    stranger.commit("first")?;
    stranger.git(&[
        "remote",
        "add",
        "fairway",
        &format!("{}/bad-remote.git", platform.url()),
    ])?;
    let refused = stranger.push(&["fairway", "main"])?;
    ensure!(!refused.ok, "a wrong token may push:\n{}", refused.output);
    Ok(())
}

/// Name, files, and what the refused push must say.
type Source = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

const SOURCES: &[Source] = &[
    ("bad-nothing", &[("notes.txt", "hello")], &["buildpack"]),
    (
        "bad-procfile",
        &[
            ("requirements.txt", ""),
            ("Procfile", "web: python3 x.py\n???\n"),
        ],
        &["Procfile", "line 2"],
    ),
    (
        "bad-type",
        &[
            ("requirements.txt", ""),
            ("Procfile", "web: true\nWEB!: python3 x.py\n"),
        ],
        &["Procfile", "WEB!"],
    ),
    (
        "bad-appjson",
        &[("index.html", "x"), ("app.json", "{\n  \"formation\": [\n")],
        &["app.json", "line"],
    ),
    (
        "bad-image",
        &[("Dockerfile", "FROM scratch\nCOPY . /\n"), ("x", "y")],
        &["command"],
    ),
];

fn sources(platform: &Platform) -> anyhow::Result<()> {
    for (app, files, expected) in SOURCES {
        let repository = platform.create_app(app)?;
        for (path, text) in *files {
            repository.write(path, text)?;
        }
        repository.commit("bad")?;
        let pushed = repository.push(&["fairway", "main"])?;
        ensure!(!pushed.ok, "{app} was accepted:\n{}", pushed.output);
        for text in *expected {
            ensure!(
                pushed.output.contains(text),
                "{app}: no {text:?} in:\n{}",
                pushed.output
            );
        }
        let remote = repository.git(&["ls-remote", "fairway"])?;
        ensure!(remote.is_empty(), "{app} left a ref: {remote}");
    }
    Ok(())
}

fn ports(platform: &Platform) -> anyhow::Result<()> {
    let repository = platform.create_app("bad-port")?;
    sample::docker_app(&repository, "x")?;
    let server = sample::server("x").replace("int(os.environ[\"PORT\"])", "3000");
    repository.write("server.py", &server)?;
    repository.write(
        "app.json",
        r#"{"healthchecks": {"web": [{"type": "startup", "listening": true, "attempts": 3, "wait": 1}]}}"#,
    )?;
    repository.commit("bad")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(!pushed.ok, "{}", pushed.output);
    ensure!(
        pushed.output.contains("3000"),
        "it should say where it listens:\n{}",
        pushed.output
    );
    Ok(())
}

fn slow_start_is_fine(platform: &Platform) -> anyhow::Result<()> {
    let repository = platform.create_app("slow-start")?;
    sample::docker_app(&repository, "at last")?;
    repository.write(
        "server.py",
        &sample::server("at last")
            .replace("import http", "import time; time.sleep(20)\nimport http"),
    )?;
    repository.commit("slow")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);
    ensure!(platform.get("slow-start", "/")? == (200, "at last".into()));
    Ok(())
}
