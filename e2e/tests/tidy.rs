//! The house rules that a compiler cannot check: sizes, arrows between crates, who may speak SQL,
//! dead files, links in the documents. Each failure names the file and the rule.

#![expect(clippy::unwrap_used, reason = "a test that cannot look should fail")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Lines of a source file, tests apart.
const FILE_LINES_MAX: usize = 500;
/// Lines of a `lib.rs`, which is a table of contents.
const LIB_LINES_MAX: usize = 100;

/// Which of our crates each of our crates may use (ARCHITECTURE.md, "Arrows").
const ARROWS: [(&str, &[&str]); 11] = [
    ("api", &[]),
    ("scheduler", &["api"]),
    ("registry", &[]),
    ("node", &["api"]),
    ("router", &["api"]),
    ("builder", &["api"]),
    ("web", &["api"]),
    ("cli", &["api"]),
    ("controller", &["api", "scheduler"]),
    (
        "server",
        &[
            "api",
            "builder",
            "cli",
            "controller",
            "node",
            "registry",
            "router",
            "web",
        ],
    ),
    ("e2e", &["api", "cli", "server"]),
];

/// What must not enter the tree, and why.
const BANNED_CRATES: [(&str, &str); 4] = [
    ("aws-lc-rs", "one TLS provider: ring"),
    ("openssl-sys", "one TLS stack: rustls"),
    ("native-tls", "one TLS stack: rustls"),
    ("serde_yaml", "unmaintained"),
];

/// File names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "misc", "manager"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Files that git tracks or would track, with one of these endings.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "git ls-files failed");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(PathBuf::from)
        .filter(|path| endings.iter().any(|e| path.to_string_lossy().ends_with(e)))
        .filter(|path| root().join(path).exists())
        .collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn is_test(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "e2e")
        || path.file_stem().is_some_and(|stem| stem == "tests")
}

/// Asserts that nothing broke a rule, and lists all that did.
fn check(rule: &str, broken: Vec<String>) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn files_are_rooms_not_halls() {
    let broken = files(&[".rs"])
        .into_iter()
        .filter(|path| !is_test(path))
        .filter_map(|path| {
            let max = if path.ends_with("src/lib.rs") {
                LIB_LINES_MAX
            } else {
                FILE_LINES_MAX
            };
            let text = read(&path);
            // Inline tests stand last in a file and do not count.
            let lines = text
                .lines()
                .take_while(|line| *line != "#[cfg(test)]")
                .count();
            (lines > max).then(|| format!("{}: {lines} lines, at most {max}", path.display()))
        })
        .collect();
    check("split what is too long", broken);
}

#[test]
fn modules_are_not_mod_rs_and_names_say_something() {
    let broken = files(&[".rs"])
        .into_iter()
        .filter(|path| {
            let stem = path.file_stem().unwrap().to_string_lossy().to_string();
            stem == "mod" || EMPTY_NAMES.contains(&stem.as_str())
        })
        .map(|path| path.display().to_string())
        .collect();
    check("name the noun (foo.rs + foo/, no utils)", broken);
}

#[test]
fn sql_lives_only_in_the_store() {
    let broken = files(&[".rs"])
        .into_iter()
        .filter(|path| !path.starts_with("controller/src/store"))
        .filter(|path| !path.ends_with("store.rs") && !is_test(path))
        .filter(|path| read(path).contains("sqlx::"))
        .map(|path| path.display().to_string())
        .collect();
    check("sqlx is used outside controller/src/store", broken);
}

#[test]
fn every_source_file_is_part_of_its_crate() {
    let sources: BTreeSet<PathBuf> = files(&[".rs"])
        .into_iter()
        .filter(|p| p.iter().any(|part| part == "src"))
        .collect();
    let mut broken = Vec::new();
    for path in &sources {
        let name = path.file_stem().unwrap().to_string_lossy().to_string();
        let in_bin = path.parent().is_some_and(|dir| dir.ends_with("src/bin"));
        if name == "lib" || name == "main" || in_bin {
            continue;
        }
        let dir = path.parent().unwrap();
        let parents = [
            dir.with_extension("rs"),
            dir.join("lib.rs"),
            dir.join("main.rs"),
        ];
        let declared = parents
            .iter()
            .filter(|parent| sources.contains(*parent))
            .any(|parent| {
                let text = read(parent);
                text.contains(&format!("mod {name};"))
            });
        if !declared {
            broken.push(path.display().to_string());
        }
    }
    check("dead files: no `mod` line names them", broken);
}

#[test]
fn arrows_between_crates_hold() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut broken = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"]
            .as_str()
            .unwrap()
            .trim_start_matches("fairway-");
        let allowed = allowed
            .get(name)
            .unwrap_or_else(|| panic!("no arrows for crate {name}"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let Some(used) = dependency["name"]
                .as_str()
                .unwrap()
                .strip_prefix("fairway-")
            else {
                continue;
            };
            // Tests may use a real peer.
            if dependency["kind"] != "dev" && !allowed.contains(&used) {
                broken.push(format!("{name} -> {used}"));
            }
        }
    }
    check("an arrow that ARCHITECTURE.md does not allow", broken);
}

#[test]
fn the_scheduler_is_pure() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "-p",
            "fairway-scheduler",
            "-e",
            "normal",
            "--prefix",
            "none",
            "--locked",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(
        tree.contains("fairway-scheduler"),
        "cargo tree printed nothing"
    );
    let broken = ["tokio", "sqlx", "reqwest", "hyper", "bollard", "rand"]
        .into_iter()
        .filter(|name| {
            tree.lines()
                .any(|line| line.split(' ').next() == Some(name))
        })
        .map(str::to_owned)
        .collect();
    check("the scheduler must not depend on", broken);
}

#[test]
fn banned_crates_stay_out() {
    let lock = read(Path::new("Cargo.lock"));
    let broken = BANNED_CRATES
        .into_iter()
        .filter(|(name, _)| lock.contains(&format!("name = \"{name}\"\n")))
        .map(|(name, why)| format!("{name}: {why}"))
        .collect();
    check("banned crates", broken);
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for path in files(&[".md"]) {
        let text = read(&path);
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.contains(' ') {
                continue;
            }
            let from = root().join(&path);
            if !from.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    check("links to files that are not there", broken);
}

#[test]
fn nothing_is_left_open_in_the_code() {
    // Written apart so that this file does not find itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("unimpl", "emented!("),
    ];
    let broken = files(&[".rs", ".sh"])
        .into_iter()
        .filter(|path| marks.iter().any(|mark| read(path).contains(mark)))
        .map(|path| path.display().to_string())
        .collect();
    check("finish it, or put it in ROADMAP.md", broken);
}
