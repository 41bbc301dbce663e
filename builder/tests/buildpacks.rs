//! The buildpacks' own programs, run on this machine: what they detect, and their unit tests. That
//! they build apps is tested with the real engine, beside the build itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has to panic")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn buildpacks() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../buildpacks")
}

/// Runs `bin/detect` over a tree with these files; gives exit code and output.
fn detect(buildpack: &str, files: &[&str]) -> (i32, String) {
    let app = tempfile::tempdir().unwrap();
    for file in files {
        let path = app.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let program = buildpacks()
        .join(buildpack)
        .join("bin/detect")
        .canonicalize()
        .unwrap();
    let output = Command::new(program)
        .current_dir(app.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), said.trim_end().to_owned())
}

#[test]
fn each_buildpack_detects_its_apps() {
    for (buildpack, files) in [
        ("python", &["requirements.txt"][..]),
        ("python", &["pyproject.toml", "src/app.py"]),
        ("nodejs", &["package.json"]),
        ("static", &["index.html"]),
        ("static", &["public/index.html", "package.txt"]),
        ("procfile", &["Procfile"]),
    ] {
        assert_eq!(
            detect(buildpack, files),
            (0, String::new()),
            "{buildpack} {files:?}"
        );
    }
}

#[test]
fn each_buildpack_says_what_it_misses() {
    for (buildpack, files, want) in [
        (
            "python",
            &[][..],
            "there is no requirements.txt and no pyproject.toml",
        ),
        (
            "python",
            &["app.py"],
            "there is app.py, but no requirements.txt",
        ),
        ("nodejs", &[], "there is no package.json"),
        (
            "nodejs",
            &["server.js"],
            "there is server.js, but no package.json",
        ),
        ("static", &["docs/index.html"], "there is no index.html"),
        ("procfile", &["procfile"], "there is no Procfile"),
    ] {
        let (code, said) = detect(buildpack, files);
        assert_eq!(code, 100, "{buildpack} {files:?}");
        assert!(said.starts_with(want), "{buildpack} {files:?}: {said:?}");
    }
}

#[test]
fn the_order_names_buildpacks_that_are_there() {
    let text = fs::read_to_string(buildpacks().join("builder.toml")).unwrap();
    let builder: toml::Table = toml::from_str(&text).unwrap();
    let groups = builder["order"].as_array().unwrap();
    let members = groups
        .iter()
        .flat_map(|group| group["group"].as_array().unwrap());
    for id in members.map(|member| member["id"].as_str().unwrap()) {
        let folder = buildpacks().join(id.strip_prefix("fairway/").unwrap());
        let text = fs::read_to_string(folder.join("buildpack.toml")).unwrap();
        let buildpack: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(buildpack["buildpack"]["id"].as_str(), Some(id));
    }
}

#[test]
fn the_buildpacks_own_tests_pass() {
    for test in [
        "nodejs/tests/semver_test.py",
        "python/tests/dependencies_test.py",
    ] {
        let output = Command::new("python3")
            .arg(buildpacks().join(test))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{test}: {said}");
    }
}
