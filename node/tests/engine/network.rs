//! The pod network of one machine: who reaches whom, and by which names.

use std::net::Ipv4Addr;

use fairway_api::{
    ids::AppId,
    network::{
        Admission, AppNetwork, ExternalName, ExternalTarget, NetworkPlan, PodPlace, Subnet,
        VXLAN_PORT_DEFAULT,
    },
    pods::{PodSpec, PodStatus},
};

use crate::machine::{Machine, docker};

/// A machine with a subnet of its own choice; the engine is shared by all tests.
async fn machine() -> Machine {
    let mut machine = Machine::start().await;
    let pods: Subnet = "10.64.0.0/11".parse().unwrap();
    let id = AppId::generate().as_uuid().as_u128();
    let number = u32::try_from(id % u128::from(pods.parts(24))).unwrap();
    machine.network = Some(NetworkPlan {
        pods,
        subnet: pods.part(24, number).unwrap(),
        vni: number,
        vxlan_port: VXLAN_PORT_DEFAULT,
        peers: vec![],
        host_ports: vec![],
        apps: vec![],
    });
    machine
}

/// Names these pods in the plan, so that they are found by name.
fn announce(machine: &mut Machine, pods: &[&PodSpec], admits: Vec<Admission>) {
    let place = |pod: &&PodSpec| PodPlace {
        pod: pod.id,
        process_type: pod.process_type.clone(),
        name: pod.name.clone(),
        address: None,
        port: pod.port,
        serves: true,
    };
    let external = ExternalName {
        name: "db".parse().unwrap(),
        target: ExternalTarget::Addresses(vec![[192, 0, 2, 77].into()]),
    };
    machine.network.as_mut().unwrap().apps.push(AppNetwork {
        app: pods[0].app,
        name: pods[0].app_name.clone(),
        admits,
        external: vec![external],
        pods: pods.iter().map(place).collect(),
    });
}

/// Runs a one-off pod of an app beside the others; its last lines.
async fn run(
    machine: &mut Machine,
    app: &PodSpec,
    script: &str,
    beside: &[&PodSpec],
) -> Vec<String> {
    let pod = PodSpec {
        app: app.app,
        app_name: app.app_name.clone(),
        ..machine.one_off(script)
    };
    machine.plan(&[beside, &[&pod]].concat());
    let exit = machine.until_exited(&pod).await.last_exit.unwrap();
    exit.last_lines
}

fn address(status: &PodStatus) -> Ipv4Addr {
    status.address.unwrap().to_string().parse().unwrap()
}

fn fetch(host: &str, port: u16) -> String {
    format!(
        "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {host} {port} 2>/dev/null | \
         tail -n 1 | grep . || echo nobody"
    )
}

/// Prints the addresses of a name. Nothing but nslookup of a static busybox can resolve names.
fn find(name: &str) -> String {
    format!("nslookup {name} 2>/dev/null | sed -n '/^Name/,$s/^Address.*: //p'")
}

#[tokio::test]
async fn pods_of_one_app_talk_and_others_only_where_admitted() {
    let mut machine = machine().await;
    let server = machine.pod("httpd -p 9090 -h /www; exec httpd -f -h /www -p 8080");
    let stranger = machine.pod("exec httpd -f -h /www -p 8080");
    let mut friend = machine.pod("exec httpd -f -h /www -p 8080");
    friend.app_name = "friend".parse().unwrap();
    let admission = Admission {
        app: friend.app,
        port: Some(8080),
    };
    announce(&mut machine, &[&friend], vec![]);
    announce(&mut machine, &[&server], vec![admission]);
    machine.plan(&[&server]);
    let at = address(&machine.until_ready(&server).await).to_string();
    // Equal lines would be told as one.
    let both = format!("{}; echo and; {}", fetch(&at, 8080), fetch(&at, 9090));
    for (who, wanted) in [
        (&server, ["hello", "and", "hello"]),
        (&friend, ["hello", "and", "nobody"]),
        (&stranger, ["nobody", "and", "nobody"]),
    ] {
        let lines = run(&mut machine, who, &both, &[&server]).await;
        assert_eq!(lines, wanted, "{who:?}");
    }
}

#[tokio::test]
async fn pods_find_names_and_nothing_else_on_their_machine() {
    let mut machine = machine().await;
    let server = machine.pod("exec httpd -f -h /www -p 8080");
    announce(&mut machine, &[&server], vec![]);
    machine.plan(&[&server]);
    machine.until_ready(&server).await;
    // Something that listens on all of the machine's addresses.
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let gateway = machine.network.as_ref().unwrap().subnet.nth(1).unwrap();
    // The words keep addresses apart: lines that differ only in digits would be told as one.
    let script = format!(
        "{}; echo pod; {}; echo own; {}; echo outside; {}; {}; grep search /etc/resolv.conf; \
         nc -w 2 {gateway} {port} </tmp && echo reached || echo apart",
        find("web.shop.internal"),
        find("1.web.shop.internal"),
        find("web.a.internal"),
        find("db.shop.internal"),
        find("web.other.internal"),
    );
    let at = address(&machine.until_ready(&server).await).to_string();
    let mut lines = run(&mut machine, &server, &script, &[&server]).await;
    lines.retain(|line| !line.starts_with("nc:"));
    let search = lines.remove(7);
    assert!(search.starts_with("search a.internal"), "{lines:?}");
    let wanted = [
        &at,
        "pod",
        &at,
        "own",
        &at,
        "outside",
        "192.0.2.77",
        "apart",
    ];
    assert_eq!(lines, wanted);
}

#[tokio::test]
async fn a_restarted_agent_and_a_flushed_filter_change_nothing() {
    let mut machine = machine().await;
    let server = machine.pod("exec httpd -f -h /www -p 8080");
    announce(&mut machine, &[&server], vec![]);
    machine.plan(&[&server]);
    machine.until_ready(&server).await;
    machine.stop_agent().await;
    machine.remove_packet_filter();
    machine.start_agent().await;
    let at = address(&machine.until_ready(&server).await).to_string();
    let script = format!("{}; {}", find("web.shop.internal"), fetch(&at, 8080));
    let lines = run(&mut machine, &server, &script, &[&server]).await;
    assert_eq!(lines, [&at, "hello"]);
}

#[tokio::test]
async fn a_subnet_that_the_machine_has_a_route_to_is_refused_with_its_name() {
    let mut machine = machine().await;
    let taken = docker(&[
        "network",
        "inspect",
        "bridge",
        "--format",
        "{{(index .IPAM.Config 0).Subnet}}",
    ]);
    let taken: Subnet = taken.parse().unwrap();
    machine.network.as_mut().unwrap().subnet = taken.part(24, 0).unwrap();
    let pod = machine.pod("exec sleep 1000");
    machine.plan(&[&pod]);
    let refused = machine
        .until(&pod, "refused", |status| {
            matches!(&status.phase, fairway_api::pods::PodPhase::Refused { reason }
                if reason.contains("overlaps") && reason.contains("docker0"))
        })
        .await;
    assert!(refused.address.is_none());
    let problem = machine
        .shared()
        .reports
        .borrow()
        .last()
        .unwrap()
        .network
        .problem
        .clone();
    assert!(problem.unwrap().contains("pod-network"));
}
