//! Who is let in, and what the others are told.

use tokio::process::Command;

use crate::{
    controller::TOKEN,
    platform::{Platform, Told},
};

#[tokio::test(flavor = "multi_thread")]
async fn http_refusals_say_why() {
    let platform = Platform::start().await;
    let tree = platform.work_tree("tree").await;
    let at = platform.http;
    for (url, wanted) in [
        (
            format!("http://x:wrong@{at}/shop.git"),
            "Authentication failed",
        ),
        (format!("http://{at}/shop.git"), "could not read Username"),
        (platform.http_url("nothing"), "There is no app nothing."),
        (
            platform.http_url("readonly"),
            "You may not push to readonly.",
        ),
        (
            format!("http://x:{TOKEN}@{at}/SHOP.git"),
            "is not a repository here",
        ),
        (
            format!("http://x:{TOKEN}@{at}/..%2Fshop.git"),
            "is not a repository here",
        ),
    ] {
        let told = tree.try_git(&["push", &url, "main"]).await;
        assert!(!told.ok, "{url}");
        told.says(&[wanted]);
    }
    // The token may stand in either place.
    for user in [format!("{TOKEN}:"), format!("ann%40example.com:{TOKEN}")] {
        tree.git(&["ls-remote", &format!("http://{user}@{at}/shop.git")])
            .await;
    }
    tree.git(&["ls-remote", &format!("http://x:{TOKEN}@{at}/shop")])
        .await;
    assert!(platform.controller.builds().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_credentials_does_not_reach_the_controller() {
    let platform = Platform::start().await;
    let tree = platform.work_tree("tree").await;
    assert!(
        !tree
            .try_git(&["ls-remote", &format!("http://{}/shop.git", platform.http)])
            .await
            .ok
    );
    assert_eq!(platform.controller.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_refusals_say_why() {
    let platform = Platform::start().await;
    let tree = platform.work_tree("tree").await;
    let fingerprint = platform.make_key("ed25519").await;
    let told = tree
        .try_git(&["push", &platform.ssh_url("shop"), "main"])
        .await;
    assert!(!told.ok);
    told.says(&["Permission denied", "Could not read from remote repository"]);

    platform.controller.know_key(&fingerprint);
    for (app, wanted) in [
        ("nothing", "There is no app nothing."),
        ("readonly", "You may not push to readonly."),
        ("../shop", "is not a repository here"),
        ("srv/shop", "is not a repository here"),
    ] {
        let told = tree
            .try_git(&["push", &platform.ssh_url(app), "main"])
            .await;
        assert!(!told.ok, "{app}");
        told.says(&[wanted]);
    }
}

async fn ssh(platform: &Platform, options: &[&str], command: &[&str]) -> Told {
    let words = platform.ssh_command();
    let words: Vec<&str> = words.split(' ').collect();
    let port = platform.ssh.port().to_string();
    let mut ssh = Command::new(words[0]);
    // The first value of an option counts.
    ssh.args(options)
        .args(&words[1..])
        .args(["-p", &port])
        .arg("anyone@127.0.0.1")
        .args(command);
    Told::from(
        ssh.stdin(std::process::Stdio::null())
            .output()
            .await
            .unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn ssh_runs_git_and_nothing_else() {
    let platform = Platform::start().await;
    platform.log_in_by_key().await;
    for (options, command, code, wanted) in [
        (vec![], vec![], 1, "Fairway has no shell here"),
        (vec!["-tt"], vec![], 1, "Fairway has no shell here"),
        (vec![], vec!["id"], 128, "Fairway runs only git here"),
        (
            vec![],
            vec!["git-upload-pack 'shop.git'; id"],
            128,
            "Fairway runs only git here",
        ),
        (
            vec![],
            vec!["git-upload-pack '../../etc'"],
            128,
            "is not a repository here",
        ),
        (vec!["-s"], vec!["sftp"], 255, ""),
        (
            vec!["-o", "PubkeyAuthentication=no"],
            vec![],
            255,
            "Permission denied",
        ),
    ] {
        let told = ssh(&platform, &options, &command).await;
        assert_eq!(told.code, Some(code), "{options:?} {command:?}: {told:?}");
        told.says(&[wanted]);
        assert!(!told.text.contains("uid="), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_key_stays_and_rsa_keys_work() {
    let mut platform = Platform::start().await;
    let scan = async |platform: &Platform| {
        let port = platform.ssh.port().to_string();
        let scan = Command::new("ssh-keyscan")
            .args(["-p", &port, "127.0.0.1"])
            .output();
        let text = String::from_utf8(scan.await.unwrap().stdout).unwrap();
        let line = text
            .lines()
            .find(|line| !line.starts_with('#'))
            .expect("a key")
            .to_owned();
        line.split_once(' ').unwrap().1.to_owned()
    };
    let before = scan(&platform).await;
    assert!(before.starts_with("ssh-ed25519 "));
    platform.restart().await;
    assert_eq!(scan(&platform).await, before);

    let fingerprint = platform.make_key("rsa").await;
    platform.controller.know_key(&fingerprint);
    let tree = platform.work_tree("tree").await;
    tree.git(&["ls-remote", &platform.ssh_url("shop")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_told_what_to_do() {
    let platform = Platform::start().await;
    let fingerprint = platform.make_key("ed25519").await;
    let asking = ["-o", "BatchMode=no", "-o", "LogLevel=INFO"];
    let told = ssh(&platform, &asking, &["git-upload-pack 'shop.git'"]).await;
    assert_eq!(told.code, Some(255), "{told:?}");
    told.says(&[
        "does not know your key",
        &fingerprint,
        "app keys:add",
        "Permission denied",
    ]);
    assert_eq!(
        told.text.matches("does not know").count(),
        1,
        "told once: {told:?}"
    );
    assert_eq!(
        told.text.matches("Permission denied").count(),
        1,
        "refused once: {told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registered_key_is_found_among_others() {
    let platform = Platform::start().await;
    platform.make_key("ed25519").await;
    let path = |name: &str| platform.scratch().join(name);
    std::fs::rename(path("id"), path("first")).unwrap();
    std::fs::rename(path("id.pub"), path("first.pub")).unwrap();
    platform.log_in_by_key().await;
    let first = path("first").display().to_string();
    let port = platform.ssh.port().to_string();
    let words = platform.ssh_command();
    let mut ssh = Command::new("ssh");
    ssh.args(["-i", &first]).args(words.split(' ').skip(1));
    ssh.args(["-v", "-p", &port, "anyone@127.0.0.1"]);
    ssh.stdin(std::process::Stdio::null());
    let told = Told::from(ssh.output().await.unwrap());
    told.says(&[
        "Offering public key",
        "first",
        "Offering public key",
        "has no shell here",
    ]);
    assert_eq!(told.code, Some(1));
}
