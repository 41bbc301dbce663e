//! Input that no honest client sends, and packs that stop half-way.

use std::process::Stdio;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
};

use crate::{
    controller::{TOKEN, WAIT},
    platform::{Platform, WorkTree},
};

const ZERO: &str = "0000000000000000000000000000000000000000";

fn pkt(line: &str) -> Vec<u8> {
    format!("{:04x}{line}", line.len() + 4).into_bytes()
}

/// What `git push` would send: the command, a flush, and a pack of everything.
async fn push_request(platform: &Platform, tree: &WorkTree<'_>) -> Vec<u8> {
    let head = tree.head().await;
    let mut pack = platform.git(&tree.folder);
    pack.args(["pack-objects", "--all", "--stdout", "-q"]);
    let pack = pack.output().await.unwrap().stdout;
    let command = format!("{ZERO} {head} refs/heads/main\0 report-status side-band-64k");
    [pkt(&command), b"0000".to_vec(), pack].concat()
}

/// Sends bytes as they are and gives the status line and all that follows.
async fn send(platform: &Platform, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(platform.http).await.unwrap();
    let credential = base64(&format!("x:{TOKEN}"));
    let head =
        format!("{head}\r\nHost: x\r\nAuthorization: Basic {credential}\r\nConnection: close");
    stream
        .write_all(format!("{head}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    // The server may have answered and left before it was given everything.
    drop(stream.write_all(body).await);
    let mut answer = Vec::new();
    let read = tokio::time::timeout(WAIT, stream.read_to_end(&mut answer));
    drop(read.await.expect("an answer in time"));
    String::from_utf8_lossy(&answer).into_owned()
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

async fn post(platform: &Platform, service: &str, headers: &str, body: &[u8]) -> String {
    let head = format!(
        "POST /shop.git/{service} HTTP/1.1\r\nContent-Type: application/x-{service}-request\r\n\
         Content-Length: {}{headers}",
        body.len()
    );
    send(platform, &head, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_refused_and_leave_nothing() {
    let platform = Platform::start().await;
    let tree = platform.work_tree("tree").await;
    let good = push_request(&platform, &tree).await;
    let head = tree.head().await;
    let command = |line: &str| [pkt(line), b"0000".to_vec()].concat();
    let mut flipped = good.clone();
    let middle = flipped.len() - 60;
    flipped[middle] ^= 0x40;
    for (what, body) in [
        ("not pkt-lines", b"hello, I am not git".to_vec()),
        ("a length that is none", b"zzzz".to_vec()),
        ("a line that stops", b"00ff0000".to_vec()),
        ("a length below the least", b"0003".to_vec()),
        ("a command that is none", command("push please\n")),
        (
            "a name with ..",
            command(&format!("{ZERO} {head} refs/heads/../../x\0 report-status")),
        ),
        (
            "a name outside refs",
            command(&format!("{ZERO} {head} HEAD\0 report-status")),
        ),
        (
            "no pack",
            command(&format!("{ZERO} {head} refs/heads/main\0 report-status")),
        ),
        ("half a pack", good[..good.len() / 2].to_vec()),
        ("a pack without its end", good[..good.len() - 1].to_vec()),
        ("a broken pack", flipped),
        (
            "no pack but text",
            [
                command(&format!("{ZERO} {head} refs/heads/main\0 report-status")),
                b"not a pack at all".to_vec(),
            ]
            .concat(),
        ),
    ] {
        let answer = post(&platform, "git-receive-pack", "", &body).await;
        let refused = answer.starts_with("HTTP/1.1 400 ")
            || answer.contains("unpack ") && !answer.contains("unpack ok")
            || answer.contains("ng ");
        assert!(refused, "{what}: {answer}");
        assert_eq!(platform.server_ref("refs/heads/main").await, None, "{what}");
        platform.until_no_leftovers().await;
    }
    assert!(platform.controller.builds().is_empty());
    // The same bytes, whole, are fine: the test tests what it says.
    let answer = post(&platform, "git-receive-pack", "", &good).await;
    assert!(answer.contains("unpack ok"), "{answer}");
    assert_eq!(platform.server_ref("refs/heads/main").await, Some(head));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_within_the_pack_leaves_nothing() {
    let platform = Platform::start().await;
    platform.log_in_by_key().await;
    let tree = platform.work_tree("tree").await;
    let good = push_request(&platform, &tree).await;
    let half = &good[..good.len() - 30];

    // Over HTTP: less than was announced, and then gone.
    let mut stream = TcpStream::connect(platform.http).await.unwrap();
    let head = format!(
        "POST /shop.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {}\r\n\
         Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {}\r\n\r\n",
        base64(&format!("x:{TOKEN}")),
        good.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(half).await.unwrap();
    platform.until_quarantine().await;
    drop(stream);
    platform.until_no_leftovers().await;

    // Over SSH: killed before the end of the pack.
    let words = platform.ssh_command();
    let words: Vec<&str> = words.split(' ').collect();
    let port = platform.ssh.port().to_string();
    let mut ssh = Command::new(words[0])
        .args(&words[1..])
        .args(["-p", &port, "git@127.0.0.1", "git-receive-pack 'shop.git'"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = ssh.stdin.take().unwrap();
    stdin.write_all(half).await.unwrap();
    platform.until_quarantine().await;
    ssh.start_kill().unwrap();
    ssh.wait().await.unwrap();
    platform.until_no_leftovers().await;
    assert_eq!(platform.server_ref("refs/heads/main").await, None);
    assert!(platform.controller.builds().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn http_that_is_not_the_smart_protocol_is_told_so() {
    let platform = Platform::start().await;
    for (head, status, wanted) in [
        (
            "GET /shop.git/info/refs HTTP/1.1",
            403,
            "dumb HTTP protocol is not served",
        ),
        (
            "GET /shop.git/info/refs?service=git-upload-archive HTTP/1.1",
            403,
            "The service must be",
        ),
        (
            "POST /shop.git/git-upload-pack HTTP/1.1\r\nContent-Length: 0",
            415,
            "application/x-git-upload-pack-request",
        ),
        (
            "POST /shop.git/git-upload-pack HTTP/1.1\r\nContent-Length: 0\r\nContent-Encoding: br\r\n\
             Content-Type: application/x-git-upload-pack-request",
            415,
            "with gzip and with nothing else",
        ),
        ("GET /shop.git/git-upload-pack HTTP/1.1", 405, ""),
    ] {
        let answer = send(&platform, head, b"").await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{head}: {answer}"
        );
        assert!(answer.contains(wanted), "{head}: {answer}");
    }
    let answer = post(
        &platform,
        "git-upload-pack",
        "\r\nContent-Encoding: gzip",
        b"not gzip",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn expect_100_continue_is_honoured() {
    let platform = Platform::start().await;
    let answer = post(
        &platform,
        "git-receive-pack",
        "\r\nExpect: 100-continue",
        b"0000",
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_are_broken_are_refused() {
    let platform = Platform::start().await;
    let tree = platform.work_tree("tree").await;
    let blob = tree.git(&["rev-parse", "HEAD:app.py"]).await;
    let subtree = tree.git(&["rev-parse", "HEAD^{tree}"]).await;
    let good = tree.head().await;
    for entries in [
        format!("100644 blob {}\t.git\n", blob.trim()),
        format!("040000 tree {}\t..\n", subtree.trim()),
    ] {
        tree.git(&["reset", "-q", "--hard", &good]).await;
        let mut mktree = platform
            .git(&tree.folder)
            .args(["mktree"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        mktree
            .stdin
            .take()
            .unwrap()
            .write_all(entries.as_bytes())
            .await
            .unwrap();
        let made = String::from_utf8(mktree.wait_with_output().await.unwrap().stdout).unwrap();
        let commit = tree.git(&["commit-tree", "-m", "bad", made.trim()]).await;
        let refspec = format!("{}:refs/heads/main", commit.trim());
        let told = tree
            .try_git(&["push", &platform.http_url("shop"), &refspec])
            .await;
        assert!(!told.ok, "{entries}: {told:?}");
        told.says(&["fsck error"]);
    }
    assert!(platform.controller.builds().is_empty());
    platform.until_no_leftovers().await;
}
