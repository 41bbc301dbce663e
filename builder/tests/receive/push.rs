//! What a push does, over either transport.

use std::os::unix::fs::{PermissionsExt, symlink};

use crate::{
    controller::Script,
    platform::{Platform, WorkTree, kill, list},
};

async fn urls(platform: &Platform) -> [String; 2] {
    platform.log_in_by_key().await;
    [platform.http_url("shop"), platform.ssh_url("shop")]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_moves_the_ref_and_a_failure_does_not() {
    let platform = Platform::start().await;
    let tree = platform.work_tree("tree").await;
    for url in urls(&platform).await {
        let before = platform.server_ref("refs/heads/main").await;
        let head = tree.commit("app.py", &format!("print('{url}')")).await;

        platform.controller.script(Script::Fail);
        let told = tree.try_git(&["push", &url, "main"]).await;
        assert!(!told.ok, "{told:?}");
        told.says(&[
            "remote: -----> Building",
            "remote:  !     No matching distribution found",
            "! [remote rejected] main -> main (pre-receive hook declined)",
        ]);
        assert_eq!(platform.server_ref("refs/heads/main").await, before);

        platform.controller.script(Script::Release);
        let told = tree.try_git(&["push", &url, "main"]).await;
        assert!(told.ok, "{told:?}");
        told.says(&[
            "remote: -----> Building",
            "remote:        Released v7",
            "main -> main",
        ]);
        assert_eq!(platform.server_ref("refs/heads/main").await, Some(head));

        let builds = platform.controller.builds().len();
        let told = tree.try_git(&["push", &url, "main"]).await;
        assert!(told.ok);
        told.says(&["Everything up-to-date"]);
        assert_eq!(
            platform.controller.builds().len(),
            builds,
            "nothing to build"
        );
    }
    platform.until_no_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_controller_learns_what_was_pushed() {
    let platform = Platform::start().await;
    let tree = platform.work_tree("tree").await;
    let long = "x".repeat(300);
    tree.git(&[
        "commit",
        "-q",
        "--allow-empty",
        "-m",
        &format!("{long}\n\nbody"),
    ])
    .await;
    tree.git(&["push", "-q", &platform.http_url("shop"), "HEAD:master"])
        .await;
    let new = platform.controller.build(1).await.new;
    assert_eq!(new.commit.id.as_str(), tree.head().await);
    assert_eq!(new.commit.branch.as_str(), "master");
    assert_eq!(new.commit.summary, "x".repeat(200));
    assert_eq!(new.commit.author, "Ann <ann@example.com>");
    assert_eq!(new.builder.as_str(), "builder-1");
    assert_eq!(new.user.email.as_str(), "ann@example.com");
}

/// Looks at the source of a held build.
async fn source_of(platform: &Platform, tree: &WorkTree<'_>) -> std::path::PathBuf {
    platform.controller.script(Script::Hold);
    let url = platform.http_url("shop");
    let push = tree.start_git(&["push", &url, "HEAD:main"]);
    platform.controller.build(1).await;
    let [source] = list(&platform.data().join("sources")).try_into().unwrap();
    kill(push).await;
    source
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_is_the_tree_of_the_commit() {
    let platform = Platform::start().await;
    let tree = platform.work_tree("tree").await;
    let file = tree.folder.join("bin/run");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
    symlink("bin/run", tree.folder.join("start")).unwrap();
    symlink("/etc/passwd", tree.folder.join("absolute")).unwrap();
    // Attributes that would change a checkout must not change what was committed.
    tree.commit(".gitattributes", "*.txt eol=crlf\nsecret export-ignore\n")
        .await;
    tree.commit("note.txt", "one\ntwo\n").await;
    tree.commit("secret", "kept").await;
    // Big enough to be streamed.
    tree.commit("big", &"0123456789abcdef".repeat(1_100_000))
        .await;
    std::fs::write(tree.folder.join("uncommitted"), "").unwrap();

    let source = source_of(&platform, &tree).await;
    let mode = |name: &str| {
        source
            .join(name)
            .symlink_metadata()
            .unwrap()
            .permissions()
            .mode()
    };
    assert_eq!(mode("bin/run") & 0o7777, 0o755);
    assert_eq!(mode("app.py") & 0o7777, 0o644);
    assert_eq!(
        source.join("start").read_link().unwrap().to_str(),
        Some("bin/run")
    );
    assert_eq!(
        source.join("absolute").read_link().unwrap().to_str(),
        Some("/etc/passwd")
    );
    for name in ["app.py", "bin/run", "note.txt", "secret", "big"] {
        let (given, wanted) = (
            std::fs::read(source.join(name)),
            std::fs::read(tree.folder.join(name)),
        );
        assert!(given.unwrap() == wanted.unwrap(), "{name} differs");
    }
    assert!(!source.join("uncommitted").exists());
    assert!(!source.join(".git").exists());
    let id = platform.controller.builds()[0].id;
    platform.controller.end(id, true);
    platform.until_no_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submodules_stay_empty_and_are_told_of() {
    let platform = Platform::start().await;
    let library = platform.work_tree("library").await;
    let tree = platform.work_tree("tree").await;
    let from = library.folder.to_str().unwrap();
    tree.git(&["submodule", "add", "-q", from, "vendor/library"])
        .await;
    tree.commit("app.py", "print('with library')").await;
    let told = tree
        .try_git(&["push", &platform.http_url("shop"), "main"])
        .await;
    assert!(told.ok);
    told.says(&["Submodules are not fetched", "vendor/library"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_deploy_branch_deploys() {
    let platform = Platform::start().await;
    let tree = platform.work_tree("tree").await;
    let head = tree.head().await;
    for url in urls(&platform).await {
        tree.git(&["tag", "-f", "v1"]).await;
        let told = tree
            .try_git(&["push", &url, "HEAD:refs/heads/topic", "v1"])
            .await;
        assert!(told.ok, "{told:?}");
        told.says(&["topic, v1 stored, not deployed: push to main to deploy"]);
        assert_eq!(
            platform.server_ref("refs/heads/topic").await,
            Some(head.clone())
        );
        assert_eq!(
            platform.server_ref("refs/tags/v1").await,
            Some(head.clone())
        );
        let told = tree.try_git(&["push", &url, ":topic", ":v1"]).await;
        assert!(told.ok, "deletes: {told:?}");
        assert_eq!(platform.server_ref("refs/heads/topic").await, None);
    }
    assert!(platform.controller.builds().is_empty());

    platform.controller.deploy_branch("live");
    let url = platform.http_url("shop");
    tree.try_git(&["push", &url, "main"])
        .await
        .says(&["main stored, not deployed: push to live"]);
    assert!(platform.controller.builds().is_empty());
    tree.git(&["push", &url, "main:live", "main:other"]).await;
    assert_eq!(platform.controller.builds().len(), 1);
    assert_eq!(
        platform.server_ref("HEAD").await,
        Some(head),
        "a clone gets the deploy branch"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deploy_branch_can_be_forced_and_not_deleted() {
    let platform = Platform::start().await;
    let tree = platform.work_tree("tree").await;
    let url = platform.http_url("shop");
    tree.commit("app.py", "print('one')").await;
    tree.git(&["push", &url, "main"]).await;
    tree.git(&["reset", "-q", "--hard", "HEAD~1"]).await;
    let head = tree.commit("app.py", "print('another')").await;

    let told = tree.try_git(&["push", &url, "main"]).await;
    assert!(!told.ok);
    told.says(&["rejected"]);
    tree.git(&["push", "--force", &url, "main"]).await;
    assert_eq!(
        platform.server_ref("refs/heads/main").await,
        Some(head.clone())
    );

    let told = tree
        .try_git(&["push", &url, ":main", "HEAD:refs/heads/topic"])
        .await;
    assert!(!told.ok);
    told.says(&[
        "main is the branch that deploys and cannot be deleted",
        "pre-receive hook declined",
    ]);
    assert_eq!(platform.server_ref("refs/heads/main").await, Some(head));
    assert_eq!(
        platform.server_ref("refs/heads/topic").await,
        None,
        "all or nothing"
    );
    assert_eq!(platform.controller.builds().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_may_make_the_app() {
    let platform = Platform::start().await;
    let tree = platform.work_tree("tree").await;
    for url in [
        platform.http_url("fresh-one"),
        urls(&platform).await[1].replace("shop", "fresh-two"),
    ] {
        let told = tree.try_git(&["push", &url, "main"]).await;
        assert!(told.ok, "{told:?}");
        told.says(&["-----> Created app fresh-", "-----> Building"]);
        tree.commit("app.py", &url).await;
        let told = tree.try_git(&["push", &url, "main"]).await;
        assert!(told.ok && !told.text.contains("Created"), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_a_push_made_goes_with_its_refusal_unless_something_stays() {
    let platform = Platform::start().await;
    platform.log_in_by_key().await;
    let tree = platform.work_tree("tree").await;
    for (name, url) in [
        ("fresh-one", platform.http_url("fresh-one")),
        ("fresh-two", platform.ssh_url("fresh-two")),
    ] {
        platform.controller.repository_bytes_max(1);
        let told = tree.try_git(&["push", &url, "main"]).await;
        assert!(!told.ok, "{told:?}");
        platform.controller.gone(name).await;
        platform.controller.repository_bytes_max(1024 * 1024);
        // A build that fails is something to look at.
        platform.controller.script(Script::Fail);
        let told = tree.try_git(&["push", &url, "main"]).await;
        assert!(!told.ok, "{told:?}");
        platform.until_no_leftovers().await;
        assert!(platform.controller.has(name), "{told:?}");
        platform.controller.script(Script::Release);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_first_push_keeps_the_app_that_was_made_for_it() {
    let mut platform = Platform::start().await;
    let url = platform.http_url("fresh-one");
    {
        let tree = platform.work_tree("tree").await;
        let mut seed = 1u64;
        let noise: String = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            format!("{seed:016x}")
        })
        .take(20_000)
        .collect();
        tree.commit("noise.txt", &noise).await;
        // More than the buffer, so that git first asks with an empty push whether it may.
        let told = tree
            .try_git(&["-c", "http.postBuffer=65536", "push", &url, "main"])
            .await;
        assert!(told.ok, "{told:?}");
        told.says(&["-----> Created app fresh-one"]);
    }
    // All that follows a push has ended then.
    platform.stop_builder().await;
    assert_eq!(platform.controller.given_up(), 0);
    assert!(platform.controller.has("fresh-one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shallow_clone_can_push() {
    let platform = Platform::start().await;
    let tree = platform.work_tree("tree").await;
    tree.commit("app.py", "print('two')").await;
    let from = format!("file://{}", tree.folder.display());
    let shallow = platform.scratch().join("shallow");
    tree.git(&[
        "clone",
        "-q",
        "--depth",
        "1",
        &from,
        shallow.to_str().unwrap(),
    ])
    .await;
    let shallow = WorkTree::at(&platform, shallow);
    let head = shallow.commit("app.py", "print('three')").await;
    for url in urls(&platform).await {
        let told = shallow.try_git(&["push", &url, "main"]).await;
        assert!(told.ok, "{told:?}");
        assert_eq!(
            platform.server_ref("refs/heads/main").await,
            Some(head.clone())
        );
    }
    // From a full clone the history goes on.
    let whole = tree.commit("app.py", "print('whole')").await;
    tree.git(&["push", "--force", &platform.http_url("shop"), "main"])
        .await;
    assert_eq!(platform.server_ref("refs/heads/main").await, Some(whole));
}
