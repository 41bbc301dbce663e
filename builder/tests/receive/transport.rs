//! Size: much data in bounded memory, and the limit on a repository.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    controller::Script,
    platform::{Platform, WorkTree},
};

/// Much that does not compress, as some big files and many small ones.
async fn fill(tree: &WorkTree<'_>, mib: usize) -> String {
    let mut seed = 1u64;
    let mut noise = |bytes: usize| {
        let mut noise = Vec::with_capacity(bytes + 8);
        while noise.len() < bytes {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            noise.extend_from_slice(&(seed >> 8).to_le_bytes()[..7]);
        }
        noise
    };
    std::fs::create_dir_all(tree.folder.join("small")).unwrap();
    for number in 0..500 {
        std::fs::write(tree.folder.join(format!("small/{number}")), noise(1000)).unwrap();
    }
    for number in 0..mib / 10 {
        std::fs::write(
            tree.folder.join(format!("big{number}")),
            noise(10 * 1024 * 1024),
        )
        .unwrap();
    }
    tree.git(&["-c", "core.compression=0", "add", "-A"]).await;
    tree.git(&["commit", "-q", "-m", "much"]).await;
    tree.head().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_big_repository_goes_in_and_out_over_both_transports() {
    let platform = Platform::start().await;
    platform.log_in_by_key().await;
    let tree = platform.work_tree("tree").await;
    let mib = std::env::var("RECEIVE_MIB")
        .ok()
        .and_then(|mib| mib.parse().ok())
        .unwrap_or(50);
    let head = fill(&tree, mib).await;
    let peak = watch_memory_kib();
    for (name, url) in [
        ("http", platform.http_url("fresh-http")),
        ("ssh", platform.ssh_url("fresh-ssh")),
    ] {
        // The client is not what is tested, so it shall not search long for what is not there.
        tree.git(&[
            "-c",
            "pack.window=0",
            "-c",
            "pack.compression=0",
            "push",
            "-q",
            &url,
            "main",
        ])
        .await;
        let target = platform.scratch().join(name);
        tree.git(&["clone", "-q", &url, target.to_str().unwrap()])
            .await;
        let clone = WorkTree::at(&platform, target);
        assert_eq!(clone.head().await, head);
        assert_eq!(clone.git(&["status", "--porcelain"]).await, "");
    }
    let peak = peak.load(Ordering::Relaxed);
    assert!(peak < 80 * 1024, "the test process used {peak} KiB");
}

/// Watches how much memory this process has of its own; files that are mapped do not count.
fn watch_memory_kib() -> Arc<AtomicU64> {
    let peak = Arc::new(AtomicU64::new(0));
    let seen = Arc::downgrade(&peak);
    tokio::spawn(async move {
        while let Some(peak) = seen.upgrade() {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status
                .lines()
                .find(|line| line.starts_with("RssAnon:"))
                .unwrap();
            let kib = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            peak.fetch_max(kib, Ordering::Relaxed);
            drop(peak);
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    });
    peak
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_over_its_limit_is_refused_and_stays_as_it_was() {
    let platform = Platform::start().await;
    platform.log_in_by_key().await;
    platform.controller.repository_bytes_max(5 * 1024 * 1024);
    let tree = platform.work_tree("tree").await;
    let small = tree.head().await;
    let urls = [platform.http_url("shop"), platform.ssh_url("shop")];
    tree.git(&["push", "-q", &urls[0], "main"]).await;
    fill(&tree, 10).await;
    for url in &urls {
        let told = tree
            .try_git(&["-c", "pack.window=0", "push", url, "main"])
            .await;
        assert!(!told.ok, "{told:?}");
        told.says(&["pack exceeds maximum allowed size", "may have 5 MiB"]);
        assert_eq!(
            platform.server_ref("refs/heads/main").await,
            Some(small.clone())
        );
        platform.until_no_leftovers().await;
    }
    assert_eq!(platform.controller.builds().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_pushes_at_once_do_not_disturb_each_other() {
    let platform = Platform::start().await;
    platform.controller.script(Script::Release);
    let mut pushes = Vec::new();
    for number in 0..8 {
        let tree = platform.work_tree(&format!("tree{number}")).await;
        tree.commit("app.py", &format!("print({number})")).await;
        let url = platform.http_url(&format!("fresh-{number}"));
        pushes.push(tree.start_git(&["push", &url, "main"]));
    }
    for push in pushes {
        let output = push.wait_with_output().await.unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(platform.controller.builds().len(), 8);
}
