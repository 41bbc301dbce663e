//! Fetching what was pushed.

use crate::platform::{Platform, WorkTree};

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_repository_can_be_cloned() {
    let platform = Platform::start().await;
    platform.log_in_by_key().await;
    let tree = platform.work_tree("tree").await;
    for (name, url) in [
        ("a", platform.http_url("shop")),
        ("b", platform.ssh_url("shop")),
    ] {
        let told = tree.try_git(&["clone", &url, &format!("../{name}")]).await;
        assert!(told.ok, "{told:?}");
        told.says(&["cloned an empty repository"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pushed_can_be_cloned_and_fetched() {
    let platform = Platform::start().await;
    platform.log_in_by_key().await;
    let tree = platform.work_tree("tree").await;
    let mut head = tree.commits("src", 40).await;
    tree.git(&["push", "-q", &platform.http_url("shop"), "main:master"])
        .await;
    for (name, url) in [
        ("http", platform.http_url("shop")),
        ("ssh", platform.ssh_url("shop")),
    ] {
        for version in ["0", "1", "2"] {
            let target = platform.scratch().join(format!("{name}{version}"));
            let protocol = format!("protocol.version={version}");
            tree.git(&[
                "-c",
                &protocol,
                "clone",
                "-q",
                &url,
                target.to_str().unwrap(),
            ])
            .await;
            let clone = WorkTree::at(&platform, target);
            assert_eq!(clone.head().await, head, "{name} {version}");
            assert_eq!(
                clone.git(&["branch", "--show-current"]).await.trim(),
                "master"
            );

            // Local work first, so that there is something to negotiate about.
            clone.commits("local", 40).await;
            let next = tree
                .commit("app.py", &format!("print('{name} {version}')"))
                .await;
            tree.git(&["push", "-q", &url, "main:master"]).await;
            clone.git(&["-c", &protocol, "fetch", "-q"]).await;
            assert_eq!(
                clone.git(&["rev-parse", "origin/master"]).await.trim(),
                next
            );
            head = next;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_clone_works() {
    let platform = Platform::start().await;
    let tree = platform.work_tree("tree").await;
    let url = platform.http_url("shop");
    tree.git(&["push", "-q", &url, "main"]).await;
    let target = platform.scratch().join("partial");
    tree.git(&[
        "clone",
        "-q",
        "--filter=blob:none",
        &url,
        target.to_str().unwrap(),
    ])
    .await;
    assert_eq!(
        std::fs::read_to_string(target.join("app.py")).unwrap(),
        "print('hello')"
    );
}
