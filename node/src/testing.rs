//! Values for unit tests.

use fairway_api::{
    checks::Checks,
    ids::{AppId, PodId},
    images::ImageRef,
    pods::{PodSpec, RestartPolicy, StopPolicy},
    sidecars::{OnExit, Sidecar, Sidecars},
    sizes::Resources,
};

/// A web pod with the default check.
pub(crate) fn spec(id: u128) -> PodSpec {
    PodSpec {
        id: PodId::from_u128(id),
        app: AppId::from_u128(1),
        app_name: "shop".parse().unwrap(),
        name: "web.1".into(),
        process_type: "web".parse().unwrap(),
        release: 1,
        image: ImageRef {
            registry: "127.0.0.1:5000".into(),
            repository: "apps/shop".into(),
            digest: format!("sha256:{}", "0".repeat(64)).parse().unwrap(),
        },
        command: None,
        entrypoint: None,
        env: Default::default(),
        resources: Resources {
            memory_bytes: 64 << 20,
            cpu_millis: 500,
            pids: 64,
        },
        disk_bytes: None,
        priority: Default::default(),
        port: Some(8080),
        checks: Some(Checks::for_port()),
        stop: StopPolicy {
            signal: "SIGINT".into(),
            grace_secs: 20,
        },
        restart: RestartPolicy::Always,
        time_to_live_secs: None,
        attach: None,
        sidecars: Sidecars::default(),
        mounts: vec![],
        files: Default::default(),
    }
}

/// A sidecar that waits for nobody.
pub(crate) fn sidecar(name: &str) -> Sidecar {
    let pod = spec(1);
    Sidecar {
        name: name.parse().unwrap(),
        image: pod.image,
        command: None,
        entrypoint: None,
        env: Default::default(),
        resources: pod.resources,
        port: None,
        checks: Checks::for_worker(),
        stop: pod.stop,
        after: Default::default(),
        on_exit: OnExit::Restart,
        folders: vec![],
    }
}
