//! What is told of the disk that repositories take, and what is freed of it.

use std::{fs, path::Path, time::Duration};

use fairway_api::ids::AppId;

use crate::{
    controller::{Script, WAIT},
    platform::Platform,
};

async fn until_gone(path: &Path) {
    let wait = async {
        while path.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(WAIT, wait).await;
    waited.unwrap_or_else(|_| panic!("{} stays", path.display()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_destroyed_app_had_goes_once_nobody_pushes() {
    let platform = Platform::start().await;
    let tree = platform.work_tree("tree").await;
    let url = platform.http_url("shop");
    let app = AppId::from_u128(1);
    assert!(tree.try_git(&["push", &url, "main"]).await.ok);
    assert!(platform.controller.size(app).await > 0);

    let caches = platform.data().join("cache");
    let (cache, others) = (
        caches.join(app.to_string()),
        caches.join(AppId::from_u128(2).to_string()),
    );
    for dir in [&cache, &others] {
        fs::create_dir_all(dir.join("layers/x")).unwrap();
    }
    let unknown = platform
        .data()
        .join(format!("repositories/{}.git", AppId::from_u128(3)));
    fs::create_dir(&unknown).unwrap();

    platform.controller.script(Script::Hold);
    tree.commit("app.py", "print('once more')").await;
    let push = tree.start_git(&["push", &url, "main"]);
    let build = platform.controller.build(2).await.id;
    platform.controller.destroy(app);
    until_gone(&cache).await;
    assert!(platform.repository().exists(), "somebody pushes to it");

    platform.controller.end(build, false);
    push.wait_with_output().await.unwrap();
    until_gone(&platform.repository()).await;
    assert!(
        others.exists() && unknown.exists(),
        "nobody said that these go"
    );
}
