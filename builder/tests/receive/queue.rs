//! Pushes that meet, clients that leave, builders that stop.

use fairway_api::ids::BuildId;

use crate::{
    controller::{Script, WAIT},
    platform::{Platform, Told, kill},
};

async fn ended(push: tokio::process::Child) -> Told {
    let output = tokio::time::timeout(WAIT, push.wait_with_output());
    Told::from(output.await.expect("git ends").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn output_arrives_while_the_build_runs() {
    use tokio::io::AsyncReadExt;
    let platform = Platform::start().await;
    platform.log_in_by_key().await;
    platform.controller.script(Script::Hold);
    let tree = platform.work_tree("tree").await;
    for (count, url) in [platform.http_url("shop"), platform.ssh_url("shop")]
        .iter()
        .enumerate()
    {
        let head = tree.commit("app.py", url).await;
        let mut push = tree.start_git(&["push", url, "main"]);
        let id = platform.controller.build(count + 1).await.id;
        platform.controller.say(id, "-----> Installing\n");
        let mut stderr = push.stderr.take().unwrap();
        let mut text = String::new();
        let read = async {
            while !text.contains("remote: -----> Installing") {
                let mut bytes = [0; 1024];
                let count = stderr.read(&mut bytes).await.unwrap();
                assert!(count > 0, "git ended: {text}");
                text.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        };
        tokio::time::timeout(WAIT, read)
            .await
            .expect("output in time");
        assert_ne!(
            platform.server_ref("refs/heads/main").await,
            Some(head.clone())
        );
        platform.controller.end(id, true);
        assert!(push.wait().await.unwrap().success());
        assert_eq!(platform.server_ref("refs/heads/main").await, Some(head));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_does_not_end_its_push() {
    let platform = Platform::start().await;
    platform.log_in_by_key().await;
    platform.controller.script(Script::Hold);
    let tree = platform.work_tree("tree").await;
    for (count, url) in [platform.http_url("shop"), platform.ssh_url("shop")]
        .iter()
        .enumerate()
    {
        let head = tree.commit("app.py", url).await;
        let push = tree.start_git(&["push", url, "main"]);
        let id = platform.controller.build(count + 1).await.id;
        kill(push).await;
        // More than pipes and windows hold, to find out whether anyone still reads.
        platform
            .controller
            .say(id, &"all work and no play\n".repeat(300_000));
        assert_ne!(
            platform.server_ref("refs/heads/main").await,
            Some(head.clone())
        );
        platform.controller.end(id, true);
        platform.until_ref("refs/heads/main", &head).await;
    }
    platform.until_no_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_a_failing_push_leaves_nothing() {
    let platform = Platform::start().await;
    platform.controller.script(Script::Hold);
    let tree = platform.work_tree("tree").await;
    let push = tree.start_git(&["push", &platform.http_url("shop"), "main"]);
    let id = platform.controller.build(1).await.id;
    kill(push).await;
    platform.controller.end(id, false);
    platform.until_no_leftovers().await;
    assert_eq!(platform.server_ref("refs/heads/main").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_push_waits_and_says_for_whom() {
    let platform = Platform::start().await;
    platform.controller.script(Script::Hold);
    let (one, two) = (
        platform.work_tree("one").await,
        platform.work_tree("two").await,
    );
    let first = one.commit("app.py", "print('one')").await;
    let second = two.commit("app.py", "print('two')").await;
    let url = platform.http_url("shop");
    let push_one = one.start_git(&["push", &url, "main"]);
    let id_one = platform.controller.build(1).await.id;
    let push_two = two.start_git(&["push", &url, "main"]);
    let id_two = platform.controller.build(2).await.id;

    // The first fails, so nothing stands in the way of the second.
    platform.controller.end(id_one, false);
    assert!(!ended(push_one).await.ok);
    platform.controller.end(id_two, true);
    let told = ended(push_two).await;
    assert!(told.ok, "{told:?}");
    let waits = format!(
        "Waiting for the build of ann@example.com ({}) to end",
        &first[..8]
    );
    told.says(&[&waits]);
    assert_eq!(platform.server_ref("refs/heads/main").await, Some(second));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_waited_for_another_does_not_undo_it() {
    let platform = Platform::start().await;
    platform.controller.script(Script::Hold);
    let (one, two) = (
        platform.work_tree("one").await,
        platform.work_tree("two").await,
    );
    let first = one.commit("app.py", "print('one')").await;
    two.commit("app.py", "print('two')").await;
    let url = platform.http_url("shop");
    let push_one = one.start_git(&["push", &url, "main"]);
    let id_one = platform.controller.build(1).await.id;
    let push_two = two.start_git(&["push", &url, "main"]);
    let id_two = platform.controller.build(2).await.id;

    // As the controller does it: the second is handed out the moment the first is live.
    platform.controller.end(id_one, true);
    platform.controller.hand_out(id_two, &[]);
    assert!(ended(push_one).await.ok);
    let told = ended(push_two).await;
    assert!(!told.ok, "{told:?}");
    let moved = format!("main has moved to {}", &first[..8]);
    told.says(&[
        &moved,
        "fetch, merge and push again",
        "pre-receive hook declined",
    ]);
    assert_eq!(platform.server_ref("refs/heads/main").await, Some(first));
    platform.until_no_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_from_before_a_restart_fails_and_says_what_to_do() {
    let mut platform = Platform::start().await;
    let leftover = platform.data().join("sources/of-a-killed-builder/file");
    platform.stop_builder().await;
    std::fs::create_dir_all(&leftover).unwrap();
    platform.restart().await;
    platform.until_no_leftovers().await;

    let id = platform.controller.old_build();
    platform.controller.hand_out(id, &["is gone"]);
    let result = platform
        .controller
        .until("a result", |builds| builds[0].result.clone())
        .await;
    let fairway_api::build_orders::BuildResult::Failed { reason } = result else {
        panic!("{result:?}")
    };
    assert!(
        reason.contains("the builder restarted") && reason.contains("push again"),
        "{reason}"
    );
    let output = String::from_utf8(platform.controller.builds()[0].output.clone()).unwrap();
    assert!(
        output.contains("its source [redacted]"),
        "said, and redacted: {output}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_builder_that_stops_refuses_what_is_under_way() {
    let mut platform = Platform::start().await;
    platform.log_in_by_key().await;
    platform.controller.script(Script::Hold);
    let url = platform.ssh_url("shop");
    let push = {
        let tree = platform.work_tree("tree").await;
        let push = tree.start_git(&["push", &url, "main"]);
        platform.controller.build(1).await;
        push
    };
    platform.stop_builder().await;
    let told = ended(push).await;
    assert!(!told.ok);
    told.says(&[
        "Fairway stops here",
        "push again",
        "pre-receive hook declined",
    ]);
    let noted = platform.data().join("pushes");
    let left = platform.leftovers();
    assert!(left.iter().all(|path| path.starts_with(&noted)), "{left:?}");
    assert_eq!(platform.server_ref("refs/heads/main").await, None);
}

/// A push whose builder has stopped while its release was under way: the commit and the build.
async fn interrupted(platform: &mut Platform) -> (String, BuildId) {
    platform.controller.script(Script::Hold);
    let url = platform.http_url("shop");
    let (head, push) = {
        let tree = platform.work_tree("tree").await;
        let head = tree.commit("app.py", "print('one')").await;
        (head, tree.start_git(&["push", &url, "main"]))
    };
    let id = platform.controller.build(1).await.id;
    platform.until_noted(id).await;
    platform.stop_builder().await;
    assert!(!ended(push).await.ok);
    (head, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_goes_live_without_the_builder_moves_its_branch() {
    let mut platform = Platform::start().await;
    let (head, id) = interrupted(&mut platform).await;
    platform.controller.end(id, true);
    platform.restart().await;
    platform.until_ref("refs/heads/main", &head).await;
    platform.until_no_leftovers().await;
    let url = platform.http_url("shop");
    let mut clone = platform.git(platform.scratch());
    let cloned = clone.args(["clone", "-q", &url, "copy"]).output().await;
    assert!(cloned.unwrap().status.success(), "all objects are there");
    assert!(platform.scratch().join("copy/app.py").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_fails_without_the_builder_leaves_nothing() {
    let mut platform = Platform::start().await;
    let (_, id) = interrupted(&mut platform).await;
    platform.restart().await;
    platform.controller.end(id, false);
    platform.until_no_leftovers().await;
    assert_eq!(platform.server_ref("refs/heads/main").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_was_moved_since_stays_where_it_is() {
    let mut platform = Platform::start().await;
    let (_, id) = interrupted(&mut platform).await;
    platform.restart().await;
    platform.controller.script(Script::Release);
    let url = platform.http_url("shop");
    let head = {
        let tree = platform.work_tree("other").await;
        let head = tree.commit("app.py", "print('two')").await;
        let told = ended(tree.start_git(&["push", &url, "main"])).await;
        assert!(told.ok, "{told:?}");
        head
    };
    platform.controller.end(id, true);
    platform.until_no_leftovers().await;
    assert_eq!(platform.server_ref("refs/heads/main").await, Some(head));
}
