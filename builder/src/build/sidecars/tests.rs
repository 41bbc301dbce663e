use fairway_api::{images::RegistryAccess, secret::Secret};

use super::*;
use crate::{app_json, build::processes, procfile};

fn built(procfile: &str, port: Option<u16>) -> BuiltImage {
    BuiltImage {
        image: ImageRef {
            registry: "127.0.0.1:5000".into(),
            repository: "apps/x".into(),
            digest: format!("sha256:{}", "0".repeat(64)).parse().unwrap(),
        },
        size_bytes: 1,
        built_with: "Dockerfile".into(),
        buildpacks: vec![],
        processes: processes::of_dockerfile(
            Some("serve".into()),
            &procfile::parse(procfile.as_bytes()).unwrap(),
        ),
        exposed_port: port,
        formation: BTreeMap::new(),
        cron: BTreeMap::new(),
        sidecars: BuiltSidecars::default(),
        strategy: None,
    }
}

fn asked(rest: &str) -> Sidecar {
    let text = format!(r#"{{"sidecars": [{{"name": "a", {rest}}}]}}"#);
    let mut app = app_json::parse(text.as_bytes()).unwrap();
    app.sidecars.containers.remove(0)
}

#[test]
fn types_and_ports_are_held_against_the_app() {
    let image = built("worker: work", Some(3000));
    for (rest, expect) in [
        (r#""types": ["web"], "command": "x""#, None),
        (
            r#""types": ["clock"], "command": "x""#,
            Some("the app has no process type clock; it has web, worker"),
        ),
        (
            r#""types": ["web"], "command": "x", "port": 3000"#,
            Some("web itself listens on 3000 (PORT)"),
        ),
        (r#""types": ["worker"], "command": "x", "port": 3000"#, None),
        (r#""types": ["web"], "command": "x", "port": 8080"#, None),
    ] {
        let told = judge(0, &asked(rest), &image).err().map(|it| it.reason);
        match expect {
            None => assert_eq!(told, None, "{rest}"),
            Some(expect) => assert!(told.as_ref().unwrap().contains(expect), "{told:?}"),
        }
    }
}

#[test]
fn a_command_runs_as_the_image_needs_it() {
    let line = || Command::Line("a && b".into());
    let words = || Command::Words(vec!["a".into(), "b".into()]);
    let shell = |list: &[&str]| Some(list.iter().map(|&it| it.to_owned()).collect::<Vec<_>>());
    assert_eq!(
        runs(line(), false),
        (shell(&["/bin/sh", "-c", "a && b"]), shell(&[]))
    );
    assert_eq!(runs(words(), false), (shell(&["a", "b"]), shell(&[])));
    assert_eq!(
        runs(words(), true),
        (shell(&[LAUNCHER]), shell(&["--", "a", "b"]))
    );
}

#[test]
fn names_of_images_are_completed() {
    // Another test may have been first; which of them does not matter.
    drop(rustls::crypto::ring::default_provider().install_default());
    let registry = Registry::new(&RegistryAccess {
        host: "127.0.0.1:5000".into(),
        username: "builder".into(),
        password: Secret::new("x"),
        plain_http: true,
    });
    let digest = format!("sha256:{}", "0".repeat(64));
    for (name, expect) in [
        ("nginx", "docker.io/library/nginx:latest".to_owned()),
        ("nginx:1.27", "docker.io/library/nginx:1.27".into()),
        ("ghcr.io/a/b:c", "ghcr.io/a/b:c".into()),
        (&format!("a/b@{digest}"), format!("docker.io/a/b@{digest}")),
        ("127.0.0.1:5001/a:b", "127.0.0.1:5001/a:b".into()),
    ] {
        assert_eq!(elsewhere(name, &registry).unwrap(), expect);
    }
    let own = elsewhere("127.0.0.1:5000/apps/x:latest", &registry);
    assert!(own.unwrap_err().reason.contains("the apps' own images"));
}
