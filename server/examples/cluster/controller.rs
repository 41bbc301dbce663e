//! The controller under test: nothing but its own code, with a credential for each agent.

use std::{net::SocketAddr, path::PathBuf};

use fairway_api::{images::RegistryAccess, secret::Secret};
use fairway_controller::{Config, Controller, Policy, Role, RoleCredential};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) const ADMIN: &str = "admin@example.com";
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// The credential of a part of the platform.
pub(crate) fn token(role: &str, name: &str) -> Secret {
    Secret::new(format!("{role}-{name}"))
}

/// The name of a machine.
pub(crate) fn node(number: usize) -> String {
    format!("n{number}")
}

pub(crate) async fn run(
    data_dir: PathBuf,
    nodes: usize,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut role_credentials = vec![
        RoleCredential {
            role: Role::Builder("b1".parse()?),
            token: token("builder", "b1"),
        },
        RoleCredential {
            role: Role::Router("r1".parse()?),
            token: token("router", "r1"),
        },
    ];
    for number in 0..nodes {
        let name = node(number);
        role_credentials.push(RoleCredential {
            role: Role::Node(name.parse()?),
            token: token("node", &name),
        });
    }
    let address = listener.local_addr()?;
    let controller = Controller::bind(Config {
        cluster_addresses: vec![],
        data_dir,
        base_domain: "bench.test".parse()?,
        public_url: format!("http://{address}").parse()?,
        router_http_port: 80,
        ssh_host: "localhost".into(),
        ssh_port: 2222,
        registry: RegistryAccess {
            host: "127.0.0.1:5000".into(),
            username: "fairway".into(),
            password: Secret::new("registry"),
            plain_http: true,
        },
        role_credentials,
        pod_network: None,
        vxlan_port: fairway_api::network::VXLAN_PORT_DEFAULT,
        create_on_push: false,
        repository_bytes_max: 1_000_000,
        images_kept: fairway_controller::IMAGES_KEPT_DEFAULT,
        placement: Policy::default(),
        node_lost_after: std::time::Duration::from_secs(
            fairway_controller::NODE_LOST_SECS_DEFAULT.into(),
        ),
    })
    .await?;
    controller
        .ensure_admin(ADMIN.parse()?, Secret::new(PASSWORD))
        .await?;
    let site = controller.router().fallback(fairway_controller::not_found);
    println!("http://{address}");
    let service = site.into_make_service_with_connect_info::<SocketAddr>();
    let served = async {
        axum::serve(listener, service).await?;
        Ok(())
    };
    tokio::try_join!(served, controller.run(shutdown))?;
    Ok(())
}
