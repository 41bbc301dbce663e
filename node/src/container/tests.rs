use fairway_api::{ids::AttachId, pods::Attach, secret::Secret};

use super::*;
use crate::testing::{sidecar, spec};

fn main(pod: &PodSpec) -> Part {
    Part::main(pod.clone().into())
}

#[test]
fn names_are_unique_per_start_and_fit_the_engine() {
    let mut pod = spec(0x0199_0000_0000_7000_8000_abcd_ef01_2345);
    assert_eq!(name("a1", &pod, 1), "fairway-a1-shop-web.1-abcdef012345");
    assert_eq!(name("a1", &pod, 3), "fairway-a1-shop-web.1-abcdef012345-3");
    pod.name = "run.1/../x y".into();
    assert_eq!(
        name("a1", &pod, 1),
        "fairway-a1-shop-run.1-..-x-y-abcdef012345"
    );
    assert_eq!(
        body("a1", &main(&pod), 1, Net::Own(&Joined::plain("a1")))
            .hostname
            .as_deref(),
        Some("run-1----x-y")
    );
}

#[test]
fn a_container_is_locked_down_and_limited() {
    let body = body("a1", &main(&spec(1)), 1, Net::Own(&Joined::plain("a1")));
    let host = body.host_config.unwrap();
    assert_eq!(host.memory, Some(64 << 20));
    assert_eq!(host.memory_swap, host.memory, "no swap beyond the limit");
    assert_eq!(host.nano_cpus, Some(500_000_000));
    assert_eq!(host.pids_limit, Some(64));
    assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
    assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
    assert_eq!(host.network_mode.as_deref(), Some("fairway-a1"));
    assert_eq!(host.init, Some(true));
    assert!(host.port_bindings.is_none() && host.binds.is_none() && host.privileged.is_none());
    let log = host.log_config.unwrap();
    assert_eq!(log.typ.as_deref(), Some("json-file"));
    assert!(log.config.unwrap().contains_key("max-size"));
}

#[test]
fn labels_give_the_pod_back_without_its_secrets() {
    let mut pod = spec(1);
    pod.env.insert("PASSWORD".into(), Secret::new("hunter2"));
    let labels = body("a1", &main(&pod), 7, Net::Own(&Joined::plain("a1")))
        .labels
        .unwrap();
    assert!(!format!("{labels:?}").contains("hunter2"));
    let found = stamp("a1", &labels).unwrap();
    pod.env.clear();
    assert_eq!(
        found,
        Stamp {
            pod: pod.id,
            container: ContainerName::main(),
            run: 7,
            spec: Some(Box::new(pod))
        }
    );
    assert_eq!(
        stamp("a2", &labels),
        None,
        "another instance's container is not ours"
    );
    assert_eq!(stamp("a1", &HashMap::new()), None);
}

#[test]
fn an_attached_pod_has_a_terminal_and_no_log() {
    let mut pod = spec(1);
    pod.attach = Some(Attach {
        id: AttachId::from_u128(1),
        tty: true,
    });
    let body = body("a1", &main(&pod), 1, Net::Own(&Joined::plain("a1")));
    assert_eq!(
        (body.tty, body.open_stdin, body.stdin_once),
        (Some(true), Some(true), Some(true))
    );
    assert_eq!(
        body.host_config.unwrap().log_config.unwrap().typ.as_deref(),
        Some("none")
    );
}

#[test]
fn an_empty_entrypoint_clears_the_images_own() {
    let mut pod = spec(1);
    assert_eq!(
        body("a1", &main(&pod), 1, Net::Own(&Joined::plain("a1"))).entrypoint,
        None
    );
    pod.entrypoint = Some(vec![]);
    assert_eq!(
        body("a1", &main(&pod), 1, Net::Own(&Joined::plain("a1"))).entrypoint,
        Some(vec![String::new()])
    );
    pod.entrypoint = Some(vec!["/start".into()]);
    assert_eq!(
        body("a1", &main(&pod), 1, Net::Own(&Joined::plain("a1"))).entrypoint,
        Some(vec!["/start".to_owned()])
    );
}

#[test]
fn a_pod_in_a_sandbox_says_nothing_of_its_network() {
    let body = body("a1", &main(&spec(1)), 1, Net::Sandbox("s1"));
    let host = body.host_config.unwrap();
    assert_eq!(host.network_mode.as_deref(), Some("container:s1"));
    assert_eq!(
        sandbox_of(host.network_mode.as_deref()).as_deref(),
        Some("s1")
    );
    assert_eq!(sandbox_of(Some("fairway-a1")), None);
    // The engine refuses these together with another container's network.
    assert!(body.hostname.is_none() && host.dns.is_none() && host.dns_search.is_none());
}

#[test]
fn a_sandbox_is_no_pod_and_can_do_nothing() {
    let kind = Kind {
        hostname: hostname("web.1"),
        joined: Joined::plain("a1"),
    };
    let body = sandbox("a1", &kind);
    assert_eq!(body.hostname.as_deref(), Some("web-1"));
    assert_eq!(body.stop_signal.as_deref(), Some("SIGKILL"));
    let labels = body.labels.unwrap();
    assert_eq!(labels[LABEL_INSTANCE], "a1");
    assert_eq!(stamp("a1", &labels), None);
    let host = body.host_config.unwrap();
    assert_eq!(host.network_mode.as_deref(), Some("fairway-a1"));
    assert_eq!(host.readonly_rootfs, Some(true));
    assert!(host.cap_add.is_none() && host.memory.unwrap() <= 32 << 20);
}

#[test]
fn a_sidecar_has_its_own_limits_and_the_pods_folders() {
    let mut pod = spec(1);
    let mut proxy = sidecar("proxy");
    proxy.resources.memory_bytes = 16 << 20;
    proxy.env.insert("PASSWORD".into(), Secret::new("hunter2"));
    let mount = |path: &str| fairway_api::sidecars::FolderMount {
        name: "pages".parse().unwrap(),
        path: path.into(),
    };
    proxy.folders.push(mount("/srv"));
    pod.sidecars.containers = vec![proxy, sidecar("other")];
    pod.sidecars.main_folders = vec![mount("/app/pages")];
    pod.sidecars.folders = vec![fairway_api::sidecars::SharedFolder {
        name: "pages".parse().unwrap(),
        size_bytes: 1 << 20,
    }];
    let bodies: Vec<_> = Part::all(&pod.into())
        .iter()
        .map(|part| {
            let name = name("a1", &part.spec, 1);
            (name, body("a1", part, 1, Net::Sandbox("s1")))
        })
        .collect();
    let mounts = |index: usize| -> Vec<(String, String)> {
        let host = bodies[index].1.host_config.as_ref().unwrap();
        let mounts = host.mounts.iter().flatten();
        mounts
            .map(|it| (it.source.clone().unwrap(), it.target.clone().unwrap()))
            .collect()
    };
    let volume = Mount {
        target: Some("/data".into()),
        ..Mount::default()
    };
    let with_volume = mounting(bodies[0].1.clone(), &[volume]);
    let all = with_volume.host_config.unwrap().mounts.unwrap();
    let targets: Vec<_> = all.iter().filter_map(|it| it.target.as_deref()).collect();
    assert_eq!(targets, ["/app/pages", "/data"]);
    assert_eq!(mounts(0)[0].1, "/app/pages");
    assert_eq!(mounts(1)[0].1, "/srv");
    assert_eq!(mounts(0)[0].0, mounts(1)[0].0, "it is the same folder");
    assert!(mounts(2).is_empty());
    let host = bodies[1].1.host_config.as_ref().unwrap();
    assert_eq!(host.memory, Some(16 << 20));
    let options = host.mounts.as_ref().unwrap()[0].volume_options.as_ref();
    let driver = options.unwrap().driver_config.as_ref().unwrap();
    let limits = &driver.options.as_ref().unwrap()["o"];
    assert!(limits.starts_with("size=1048576,"), "{limits}");
    assert!(bodies[1].0.contains("-web.1-proxy-"), "{}", bodies[1].0);
    let labels = bodies[1].1.labels.as_ref().unwrap();
    assert!(!format!("{labels:?}").contains("hunter2"));
    let found = stamp("a1", labels).unwrap();
    assert_eq!(found.container.as_str(), "proxy");
    assert_eq!(found.spec.unwrap().sidecars.containers.len(), 2);
}
