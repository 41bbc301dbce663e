use std::fs;

use fairway_api::ids::AppId;

use super::{Repositories, settle_head, size_bytes};

fn repositories(data: &tempfile::TempDir) -> Repositories {
    Repositories::open(data.path(), "/bin/true".as_ref(), &[]).unwrap()
}

#[test]
fn a_repository_is_made_once_and_kept() {
    let data = tempfile::tempdir().unwrap();
    let app = AppId::from_u128(1);
    let folder = repositories(&data).ensure(app).unwrap();
    assert_eq!(
        fs::read_to_string(folder.join("HEAD")).unwrap(),
        "ref: refs/heads/main\n"
    );
    fs::write(folder.join("marker"), "").unwrap();
    assert_eq!(repositories(&data).ensure(app).unwrap(), folder);
    assert!(folder.join("marker").exists());
    let left: Vec<_> = fs::read_dir(data.path().join("repositories"))
        .unwrap()
        .collect();
    assert_eq!(left.len(), 1, "nothing half-made stays: {left:?}");
}

#[test]
fn what_a_killed_git_left_is_cleared_at_the_first_look_and_never_later() {
    let data = tempfile::tempdir().unwrap();
    let app = AppId::from_u128(1);
    let folder = repositories(&data).ensure(app).unwrap();
    let left = [
        "HEAD.lock",
        "packed-refs.lock",
        "refs/heads/main.lock",
        "refs/heads/a/b.lock",
    ];
    let make = || {
        fs::create_dir_all(folder.join("refs/heads/a")).unwrap();
        fs::create_dir_all(folder.join("objects/tmp_objdir-incoming-x/pack")).unwrap();
        left.iter()
            .for_each(|file| fs::write(folder.join(file), "").unwrap());
    };
    make();
    let repositories = repositories(&data);
    repositories.ensure(app).unwrap();
    left.iter()
        .for_each(|file| assert!(!folder.join(file).exists(), "{file}"));
    assert!(!folder.join("objects/tmp_objdir-incoming-x").exists());
    make();
    repositories.ensure(app).unwrap();
    left.iter()
        .for_each(|file| assert!(folder.join(file).exists(), "{file}: a push holds it"));
}

#[test]
fn head_follows_what_exists() {
    let data = tempfile::tempdir().unwrap();
    let folder = repositories(&data).ensure(AppId::from_u128(1)).unwrap();
    let repository = git2::Repository::open_bare(&folder).unwrap();
    let head = || fs::read_to_string(folder.join("HEAD")).unwrap();
    settle_head(&folder, None).unwrap();
    assert_eq!(head(), "ref: refs/heads/main\n");
    let tree = repository
        .find_tree(repository.treebuilder(None).unwrap().write().unwrap())
        .unwrap();
    let me = git2::Signature::now("a", "a@b").unwrap();
    for branch in ["master", "live"] {
        let name = format!("refs/heads/{branch}");
        repository
            .commit(Some(&name), &me, &me, "one", &tree, &[])
            .unwrap();
    }
    settle_head(&folder, None).unwrap();
    assert_eq!(head(), "ref: refs/heads/master\n");
    settle_head(&folder, Some(&"live".parse().unwrap())).unwrap();
    assert_eq!(head(), "ref: refs/heads/live\n");
    assert!(size_bytes(&folder) > 0);
}

#[test]
fn the_hook_is_quoted() {
    let data = tempfile::tempdir().unwrap();
    let args = ["it's".to_owned(), "$(id)".to_owned()];
    Repositories::open(data.path(), "/a b/fairway".as_ref(), &args).unwrap();
    let hook = fs::read_to_string(data.path().join("hooks/pre-receive")).unwrap();
    let words = shlex::split(hook.lines().nth(1).unwrap()).unwrap();
    assert_eq!(words, ["exec", "/a b/fairway", "it's", "$(id)"]);
}

#[test]
fn a_repository_is_removed_whole_and_a_removal_that_was_cut_short_is_ended() {
    let data = tempfile::tempdir().unwrap();
    let (app, other) = (AppId::from_u128(1), AppId::from_u128(2));
    let repositories = repositories(&data);
    let folder = repositories.ensure(app).unwrap();
    repositories.ensure(other).unwrap();
    let cut_short = data.path().join("repositories/.0.gone");
    fs::create_dir_all(cut_short.join("objects")).unwrap();

    let mut listed = repositories.list().unwrap();
    listed.sort();
    assert_eq!(listed, [app, other]);
    assert!(!cut_short.exists());
    repositories.remove(app).unwrap();
    assert!(!folder.exists());
    assert_eq!(repositories.list().unwrap(), [other]);
    let again = repositories.ensure(app).unwrap();
    assert!(again.join("HEAD").exists(), "a new one may be made");
}
