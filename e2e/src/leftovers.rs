//! What a killed test run left behind is removed by the next one: platforms whose test program is no
//! more, with their containers, networks, images and directories. Only what such a platform wrote
//! down as its own is touched.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{self, Command},
};

use serde::Deserialize;

/// Begins the name of every platform's directory.
pub(crate) const PREFIX: &str = "fairway-e2e-";
/// The file in it that names the test program's process.
const OWNER: &str = "owner";

/// Writes down whose the platform in `home` is.
pub(crate) fn own(home: &Path) -> io::Result<()> {
    fs::write(home.join(OWNER), process::id().to_string())
}

/// Removes the platforms of test programs that are no more.
pub(crate) fn collect() {
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten();
    for home in entries.flatten().map(|entry| entry.path()) {
        let name = home.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(PREFIX) && owner(&home).is_some_and(|pid| !is_alive(pid)) {
            remove(&home);
        }
    }
}

fn owner(home: &Path) -> Option<u32> {
    fs::read_to_string(home.join(OWNER)).ok()?.parse().ok()
}

/// A number that was given again counts as alive: then something stays until the next run.
fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

fn remove(home: &Path) {
    let data = home.join("data");
    end_process(&data);
    let instance = fs::read_to_string(data.join("instance")).unwrap_or_default();
    // Somebody else may have got the port since, and names images by it.
    let free = |address: &SocketAddr| TcpListener::bind(address).is_ok();
    clean_engine(instance.trim(), registry(&data).filter(free));
    drop(fs::remove_dir_all(home));
}

/// Ends the `fairway up` that still works in `data`: it outlives a test program that was killed.
fn end_process(data: &Path) {
    let Ok(pid) = fs::read_to_string(data.join("lock")) else {
        return;
    };
    let place = PathBuf::from("/proc").join(pid.trim());
    let line = fs::read(place.join("cmdline")).unwrap_or_default();
    let is_it = String::from_utf8_lossy(&line).contains(&*data.to_string_lossy());
    if is_it {
        drop(Command::new("kill").args(["-KILL", pid.trim()]).output());
    }
}

fn registry(data: &Path) -> Option<SocketAddr> {
    #[derive(Deserialize)]
    struct Listening {
        registry: SocketAddr,
    }
    let text = fs::read_to_string(data.join("addresses.json")).ok()?;
    let listening: Listening = serde_json::from_str(&text).ok()?;
    Some(listening.registry)
}

/// Removes what a platform has in the container engine and in the packet filter.
pub(crate) fn clean_engine(instance: &str, registry: Option<SocketAddr>) {
    // An empty instance would match every container on the machine.
    if instance.is_empty() {
        return;
    }
    let label = format!("label=dev.fairway.instance={instance}");
    for (list, remove) in [
        (&["ps", "-aq"][..], &["rm", "-f"][..]),
        (&["network", "ls", "-q"][..], &["network", "rm"][..]),
    ] {
        let filter = ["--filter", &label];
        for id in listed(list, &filter) {
            drop(Command::new("docker").args(remove).arg(id).output());
        }
    }
    if let Some(registry) = registry {
        remove_images(registry);
    }
    // What kept its pods apart; there is none where this is not root.
    let table = format!("fairway_{}", instance.replace('-', "_"));
    let delete = ["delete", "table", "inet", &table];
    drop(Command::new("nft").args(delete).output());
}

/// Removes the images that the platform's builds named in the engine, by these names.
fn remove_images(registry: SocketAddr) {
    let reference = format!("reference={registry}/apps/*");
    let format = "{{.Repository}} {{.Tag}} {{.Digest}}";
    let filter = ["--filter", &reference, "--format", format];
    for line in listed(&["images", "--digests"], &filter) {
        let image = match line.split(' ').collect::<Vec<_>>()[..] {
            [repository, "<none>", digest] => format!("{repository}@{digest}"),
            [repository, tag, _] => format!("{repository}:{tag}"),
            _ => continue,
        };
        // With its tag its digests may be gone already.
        drop(Command::new("docker").args(["rmi", &image]).output());
    }
}

fn listed(list: &[&str], filter: &[&str]) -> Vec<String> {
    let Ok(found) = Command::new("docker").args(list).args(filter).output() else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    text.lines().map(str::to_owned).collect()
}
