use std::{fs, path::Path};

use git2::{Oid, Repository};

use super::{ExportError, export};

fn repository() -> (tempfile::TempDir, Repository) {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::init_bare(folder.path().join("r.git")).unwrap();
    (folder, repository)
}

/// Writes a tree as it stands, also one that git itself would refuse to make.
fn tree(repository: &Repository, entries: &[(&str, &[u8], Oid)]) -> Oid {
    let mut bytes = Vec::new();
    for (mode, name, id) in entries {
        bytes.extend_from_slice(mode.as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend_from_slice(id.as_bytes());
    }
    repository
        .odb()
        .unwrap()
        .write(git2::ObjectType::Tree, &bytes)
        .unwrap()
}

fn commit(repository: &Repository, tree: Oid) -> String {
    let text = format!(
        "tree {tree}\nauthor A\u{e9} <a@b> 0 +0000\ncommitter A <a@b> 0 +0000\n\nsubject\n\nbody\n"
    );
    let odb = repository.odb().unwrap();
    odb.write(git2::ObjectType::Commit, text.as_bytes())
        .unwrap()
        .to_string()
}

fn run(
    repository: &Repository,
    commit: &str,
    target: &Path,
) -> Result<super::Exported, ExportError> {
    export(repository.path(), None, &commit.parse().unwrap(), target)
}

#[test]
fn hostile_trees_stay_inside() {
    let (folder, repository) = repository();
    let blob = repository.blob(b"owned").unwrap();
    let up = repository.blob(b"..").unwrap();
    let outside = repository
        .blob(folder.path().to_str().unwrap().as_bytes())
        .unwrap();
    let inner = tree(&repository, &[("100644", b"owned", blob)]);
    for (what, entries) in [
        ("a name that goes up", vec![("40000", &b".."[..], inner)]),
        ("a name that stays", vec![("40000", b".", inner)]),
        ("no name", vec![("100644", b"", blob)]),
        ("a path as a name", vec![("100644", b"../owned", blob)]),
        ("an absolute path", vec![("100644", b"/tmp/owned", blob)]),
        ("a repository", vec![("40000", b".git", inner)]),
        ("a repository in capitals", vec![("40000", b".GIT", inner)]),
        (
            "a link and a folder through it",
            vec![("120000", b"a", up), ("40000", b"a", inner)],
        ),
        (
            "a link out and a folder",
            vec![("120000", b"a", outside), ("40000", b"a", inner)],
        ),
        (
            "a folder and a link",
            vec![("40000", b"a", inner), ("120000", b"a", up)],
        ),
        (
            "a link and a file through it",
            vec![("120000", b"a", outside), ("100644", b"a", blob)],
        ),
        (
            "a file twice",
            vec![("100644", b"a", blob), ("100644", b"a", blob)],
        ),
        (
            "an empty link",
            vec![("120000", b"a", repository.blob(b"").unwrap())],
        ),
        (
            "a long link",
            vec![("120000", b"a", repository.blob(&[b'x'; 5000]).unwrap())],
        ),
        (
            "a file that is not there",
            vec![("100644", b"a", Oid::from_bytes(&[7; 20]).unwrap())],
        ),
    ] {
        let commit = commit(&repository, tree(&repository, &entries));
        let target = folder.path().join("target");
        run(&repository, &commit, &target).expect_err(what);
        fs::remove_dir_all(&target).unwrap();
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{what}: {left:?}");
    }
}

#[test]
fn a_tree_that_grows_without_end_is_stopped() {
    let (folder, repository) = repository();
    let blob = repository.blob(b"").unwrap();
    let nested = |name: &[u8], depth: usize| {
        let mut below = tree(&repository, &[("100644", b"a", blob)]);
        for _ in 0..depth {
            below = tree(&repository, &[("40000", name, below)]);
        }
        commit(&repository, below)
    };
    let target = folder.path().join("target");
    run(&repository, &nested(b"ab", 100), &target).unwrap();
    fs::remove_dir_all(&target).unwrap();
    let error = run(&repository, &nested(b"ab", 3000), &target).unwrap_err();
    assert!(matches!(error, ExportError::TooDeep), "{error}");
    fs::remove_dir_all(&target).unwrap();
    let error = run(&repository, &nested(&[b'x'; 200], 100), &target).unwrap_err();
    assert!(matches!(error, ExportError::PathTooLong(_)), "{error}");
}

#[test]
fn odd_but_honest_trees_come_out() {
    let (folder, repository) = repository();
    let blob = repository.blob(b"text").unwrap();
    let inner = tree(&repository, &[("100755", b"run", blob)]);
    let module = Oid::from_bytes(&[7; 20]).unwrap();
    let entries = [
        // Written by old tools.
        ("100664", &b"group-writable"[..], blob),
        ("100644", b"latin-\xe9", blob),
        ("100644", b"..data", blob),
        ("160000", b"module", module),
        ("40000", b"\xc3\xa4 b", inner),
    ];
    let commit = commit(&repository, tree(&repository, &entries));
    let target = folder.path().join("target");
    let exported = run(&repository, &commit, &target).unwrap();
    assert_eq!(exported.summary, "subject");
    assert_eq!(exported.author, "A\u{e9} <a@b>");
    assert_eq!(exported.submodules, ["module"]);
    assert_eq!(fs::read(target.join("..data")).unwrap(), b"text");
    assert_eq!(fs::read(target.join("\u{e4} b/run")).unwrap(), b"text");
    assert_eq!(fs::read_dir(&target).unwrap().count(), 5);
}

#[test]
fn what_is_no_commit_is_refused() {
    let (folder, repository) = repository();
    let blob = repository.blob(b"text").unwrap().to_string();
    for id in [
        blob.as_str(),
        "1111111111111111111111111111111111111111",
        &"1".repeat(64),
    ] {
        let error = run(&repository, id, &folder.path().join("target")).unwrap_err();
        assert!(matches!(error, ExportError::NotACommit(_)), "{id}: {error}");
    }
}
