//! Ways into the pods of a machine that nobody can dial: all go over the connection that its agent
//! has opened.

use std::{
    fs,
    io::{BufReader, Read as _, Write as _},
    net::TcpStream,
    process::Stdio,
};

use anyhow::{Context, ensure};
use serde_json::{Deserializer, Value};

use super::Cluster;
use crate::push::wait;

/// Exec, copy, forward, logs and one-off pods, on the machine behind NAT.
pub(super) fn behind_nat(cluster: &mut Cluster<'_>) -> anyhow::Result<()> {
    cluster.populate("four")?;
    let name = cluster.on("four")?.remove(0).name;
    let platform = &cluster.platform;
    let exec = |words: &[&str]| {
        let door = ["ps:exec", "-d", &name, "-a", "alpha", "--"];
        platform.app_ok(&[&door[..], words].concat())
    };
    let told = exec(&["sh", "-c", "echo $DYNO"])?;
    ensure!(told.trim() == name, "{told}");
    let failed = ["ps:exec", "-d", &name, "-a", "alpha", "--", "sh", "-c"];
    let failed = platform
        .app(&[&failed[..], &["exit 7"]].concat())
        .output()?;
    ensure!(failed.status.code() == Some(7), "{failed:?}");

    // A few hundred kilobytes, there and back.
    let (there, back) = (
        cluster.alpha.path().join(".git/there"),
        cluster.alpha.path().join(".git/back"),
    );
    let bytes: Vec<u8> = (0..300_000_u32).map(|it| (it * 7 % 251) as u8).collect();
    fs::write(&there, &bytes)?;
    let inside = format!("{name}:/tmp/there");
    let copy = |from: &str, to: &str| platform.app_ok(&["ps:copy", from, to, "-a", "alpha"]);
    copy(&there.display().to_string(), &inside)?;
    copy(&inside, &back.display().to_string())?;
    ensure!(fs::read(&back)? == bytes, "the copy is another");

    forward(cluster, &name)?;
    wait("the pod's log has come", || {
        let log = platform.app_ok(&["logs", "-n", "500", "-p", &name, "-a", "alpha"])?;
        Ok(log.contains(&format!("listening as {name}")))
    })?;

    for other in ["one", "two", "three"] {
        platform.operator_ok(&["nodes:cordon", other])?;
    }
    let ran = platform.app_ok(&["run", "-a", "alpha", "echo $((20 + 22))"])?;
    for other in ["one", "two", "three"] {
        platform.operator_ok(&["nodes:uncordon", other])?;
    }
    ensure!(ran.contains("42"), "{ran}");
    Ok(())
}

fn forward(cluster: &Cluster<'_>, name: &str) -> anyhow::Result<()> {
    let forward = ["ps:forward", "0:8080", "-d", name, "-a", "alpha", "--json"];
    let mut command = cluster.platform.app(&forward);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let asked = child.stdout.take().context("its output").and_then(|out| {
        let printed = Deserializer::from_reader(BufReader::new(out));
        let shown: Value = printed.into_iter().next().context("it said nothing")??;
        let address = shown[0]["address"].as_str().context("an address")?;
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    });
    child.kill()?;
    child.wait()?;
    let (asked, [a, b, c]) = (asked?, cluster.joined("four").subnet()?);
    let from = format!(" {a}.{b}.{c}.");
    ensure!(asked.contains(&from) && asked.ends_with("/x"), "{asked}");
    Ok(())
}
