//! What each part is told: settings with their defaults filled in, and where things lie in the
//! data directory.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use fairway_api::{
    client::Client,
    disk::DiskReserve,
    images::RegistryAccess,
    joining::CLUSTER_PORT_DEFAULT,
    names::{BuilderName, Email, HostPath, Hostname, NodeName, RouterName},
    network::{Subnet, VXLAN_PORT_DEFAULT},
};
use fairway_builder::{BUILDS_AT_ONCE_DEFAULT, BuildSettings};
use fairway_controller::{IMAGES_KEPT_DEFAULT, Policy, Role, RoleCredential};
use fairway_node::{DOCKER_SOCKET_DEFAULT, Description};
use fairway_router::DRAIN_DEADLINE;
use url::Url;

use super::Addresses;
use crate::{
    cluster_address::{checked_address, reachable},
    identity::Identity,
    machine::this_machine,
    roles::{read_secret, registry_at},
    settings::Settings,
};

/// User name of the built-in registry's one account.
const REGISTRY_USER: &str = "fairway";
const MIB: u64 = 1024 * 1024;
/// The file that makes a folder one of buildpacks: the order in which they are tried.
const BUILDER_FILE: &str = "builder.toml";
/// The most bytes of one app's repository: room for a large history, not for a disk of videos.
pub(crate) const REPOSITORY_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Settings with their defaults.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) data: PathBuf,
    pub(super) listen_api: SocketAddr,
    pub(super) listen_ssh: SocketAddr,
    pub(super) listen_registry: SocketAddr,
    pub(super) listen_http: SocketAddr,
    pub(super) listen_cluster: SocketAddr,
    cluster_address: Option<String>,
    pub(super) admin_email: Email,
    base_domain: Hostname,
    public_url: Option<Url>,
    node_name: NodeName,
    create_on_push: bool,
    pod_network: Option<Subnet>,
    vxlan_port: u16,
    underlay: Option<IpAddr>,
    disk_reserve: DiskReserve,
    host_paths: Vec<HostPath>,
    images_kept: usize,
    /// Instead of the built-in registry.
    pub(super) outside_registry: Option<RegistryAccess>,
    placement: Policy,
    node_lost_after: Duration,
    buildpacks: PathBuf,
    builds: Builds,
}

/// What of [`BuildSettings`] the operator may set.
#[derive(Debug)]
struct Builds {
    at_once: usize,
    stack_cache: PathBuf,
    debian_mirror: Option<Url>,
    ca_certificates: Vec<PathBuf>,
    network: Option<String>,
    memory_bytes: Option<u64>,
    time_secs: Option<u64>,
}

impl Builds {
    fn resolve(settings: &Settings, data: &Path) -> anyhow::Result<Self> {
        let ca_certificates = settings.build_ca_certificates.clone().unwrap_or_default();
        for file in &ca_certificates {
            // Found out now and not in the middle of somebody's push.
            std::fs::read(file)
                .with_context(|| format!("read the certificate authority {}", file.display()))?;
        }
        let stack_cache = settings
            .stack_cache
            .clone()
            .unwrap_or_else(|| data.join("stack"));
        Ok(Self {
            at_once: settings
                .builds_at_once
                .map_or(BUILDS_AT_ONCE_DEFAULT, NonZeroUsize::get),
            stack_cache: std::path::absolute(stack_cache).context("find the stack cache")?,
            debian_mirror: settings.debian_mirror.clone(),
            ca_certificates,
            network: settings.build_network.clone(),
            memory_bytes: settings
                .build_memory_mib
                .map(|mib| mib.get().saturating_mul(MIB)),
            time_secs: settings
                .build_minutes
                .map(|minutes| minutes.get().saturating_mul(60)),
        })
    }

    fn apply(&self, build: &mut BuildSettings) {
        build.stack.cache_dir.clone_from(&self.stack_cache);
        build.stack.debian_mirror = self.debian_mirror.as_ref().map(Url::to_string);
        build
            .toolchain
            .extra_ca_certificates
            .clone_from(&self.ca_certificates);
        build.network.clone_from(&self.network);
        if let Some(bytes) = self.memory_bytes {
            build.limits.memory_bytes = bytes;
        }
        if let Some(secs) = self.time_secs {
            build.limits.time_secs = secs;
        }
    }
}

impl Layout {
    pub(super) fn resolve(settings: &Settings) -> anyhow::Result<Self> {
        let settings = settings.clone();
        let data = settings
            .data
            .clone()
            .unwrap_or_else(|| "/var/lib/fairway".into());
        let data = std::path::absolute(&data).context("find the data directory")?;
        let builds = Builds::resolve(&settings, &data)?;
        let (outside_registry, policy) = (outside_registry(&settings)?, settings.policy_args());
        Ok(Self {
            // The API and the registry speak plain HTTP and take passwords: loopback only, unless
            // the operator says otherwise.
            listen_api: settings.listen_api.unwrap_or(([127, 0, 0, 1], 7000).into()),
            listen_registry: settings
                .listen_registry
                .unwrap_or(([127, 0, 0, 1], 5000).into()),
            listen_ssh: settings.listen_ssh.unwrap_or(([0, 0, 0, 0], 2222).into()),
            listen_http: settings.listen_http.unwrap_or(([0, 0, 0, 0], 8080).into()),
            listen_cluster: settings
                .listen_cluster
                .unwrap_or(([0, 0, 0, 0], CLUSTER_PORT_DEFAULT).into()),
            cluster_address: settings.cluster_address.map(checked_address).transpose()?,
            admin_email: settings
                .admin_email
                .map_or_else(|| "admin@localhost".parse(), Ok)?,
            base_domain: settings
                .base_domain
                .map_or_else(|| "localhost".parse(), Ok)?,
            public_url: settings.public_url,
            node_name: settings
                .node_name
                .map_or_else(|| Ok(this_machine()), anyhow::Ok)?,
            create_on_push: settings.create_on_push.unwrap_or(false),
            pod_network: settings.pod_network,
            vxlan_port: settings.vxlan_port.unwrap_or(VXLAN_PORT_DEFAULT),
            underlay: settings.underlay,
            disk_reserve: settings.disk_reserve.unwrap_or_default(),
            host_paths: settings.allow_host_path.unwrap_or_default(),
            outside_registry,
            placement: policy.policy()?,
            node_lost_after: policy.node_lost_after()?,
            images_kept: settings
                .keep_images
                .map_or(IMAGES_KEPT_DEFAULT, NonZeroUsize::get),
            buildpacks: settings
                .buildpacks
                .map_or_else(find_buildpacks, given_buildpacks)?,
            builds,
            data,
        })
    }

    /// How people reach the API.
    pub(super) fn public_url(&self, api: SocketAddr) -> anyhow::Result<Url> {
        match &self.public_url {
            Some(url) => Ok(url.clone()),
            None => Ok(format!("http://localhost:{}", api.port()).parse()?),
        }
    }

    pub(super) fn registry(&self, identity: &Identity) -> fairway_registry::Config {
        let mut config =
            fairway_registry::Config::new(self.data.join("registry"), self.listen_registry);
        config.access = Some(fairway_registry::Credentials {
            username: REGISTRY_USER.into(),
            password: identity.registry_password.expose().into(),
        });
        config
    }

    pub(super) fn controller(
        &self,
        identity: &Identity,
        registry: RegistryAccess,
        addresses: &Addresses,
    ) -> anyhow::Result<fairway_controller::Config> {
        let public_url = self.public_url(addresses.api)?;
        Ok(fairway_controller::Config {
            data_dir: self.data.join("controller"),
            base_domain: self.base_domain.clone(),
            router_http_port: addresses.http.port(),
            ssh_host: public_url.host_str().unwrap_or("localhost").to_owned(),
            ssh_port: addresses.ssh.port(),
            cluster_addresses: vec![match &self.cluster_address {
                Some(address) => address.clone(),
                None => reachable(&public_url, addresses.cluster),
            }],
            public_url,
            registry,
            role_credentials: vec![
                credential(Role::Builder(self.builder_name()?), &identity.builder_token),
                credential(Role::Node(self.node_name.clone()), &identity.node_token),
                credential(Role::Router(self.router_name()?), &identity.router_token),
            ],
            pod_network: self.pod_network,
            vxlan_port: self.vxlan_port,
            create_on_push: self.create_on_push,
            placement: self.placement.clone(),
            node_lost_after: self.node_lost_after,
            repository_bytes_max: REPOSITORY_BYTES_MAX,
            images_kept: self.images_kept,
        })
    }

    pub(super) fn builder(
        &self,
        identity: &Identity,
        client: &Client,
    ) -> anyhow::Result<fairway_builder::Config> {
        let data_dir = self.data.join("builder");
        let mut build = BuildSettings::new(&data_dir, self.buildpacks.clone());
        self.builds.apply(&mut build);
        build.disk_reserve = self.disk_reserve;
        Ok(fairway_builder::Config {
            name: self.builder_name()?,
            instance: identity.instance.clone(),
            data_dir,
            client: client.with_token(identity.builder_token.clone()),
            listen_ssh: self.listen_ssh,
            hook_program: std::env::current_exe().context("find the running program")?,
            hook_args: vec!["hook".into(), "pre-receive".into()],
            builds_at_once: self.builds.at_once,
            build,
        })
    }

    pub(super) fn router(
        &self,
        identity: &Identity,
        client: &Client,
    ) -> anyhow::Result<fairway_router::Config> {
        Ok(fairway_router::Config {
            name: self.router_name()?,
            data_dir: self.data.join("router"),
            client: client.with_token(identity.router_token.clone()),
            listen_http: self.listen_http,
            workers: None,
            drain_deadline: DRAIN_DEADLINE,
        })
    }

    pub(super) fn agent(&self, identity: &Identity, client: &Client) -> fairway_node::Config {
        fairway_node::Config {
            node: self.node_name.clone(),
            instance: identity.instance.clone(),
            data_dir: self.data.join("node"),
            client: client.with_token(identity.node_token.clone()),
            docker_socket: DOCKER_SOCKET_DEFAULT.into(),
            underlay: self.underlay,
            disk_reserve: self.disk_reserve,
            description: Description {
                host_paths: self.host_paths.clone(),
                ..Description::default()
            },
            membership: None,
        }
    }

    fn builder_name(&self) -> anyhow::Result<BuilderName> {
        Ok(self.node_name.as_str().parse()?)
    }

    fn router_name(&self) -> anyhow::Result<RouterName> {
        Ok(self.node_name.as_str().parse()?)
    }
}

fn credential(role: Role, token: &fairway_api::secret::Secret) -> RoleCredential {
    RoleCredential {
        role,
        token: token.clone(),
    }
}

/// How the engine and the builder reach the built-in registry.
pub(super) fn registry_access(address: SocketAddr, identity: &Identity) -> RegistryAccess {
    RegistryAccess {
        host: super::loopback(address).to_string(),
        username: REGISTRY_USER.into(),
        password: identity.registry_password.clone(),
        plain_http: true,
    }
}

/// The registry that the settings name, if they do.
fn outside_registry(settings: &Settings) -> anyhow::Result<Option<RegistryAccess>> {
    let Some(host) = &settings.registry else {
        anyhow::ensure!(
            settings.registry_username.is_none() && settings.registry_password_file.is_none(),
            "registry-username and registry-password-file are for an outside registry; name it with \
             registry"
        );
        return Ok(None);
    };
    let password = settings.registry_password_file.as_deref().map(read_secret);
    registry_at(
        host.clone(),
        settings.registry_username.clone().unwrap_or_default(),
        password.transpose()?.unwrap_or_default(),
    )
    .map(Some)
}

fn given_buildpacks(dir: PathBuf) -> anyhow::Result<PathBuf> {
    let dir = std::path::absolute(dir).context("find the buildpacks")?;
    anyhow::ensure!(
        dir.join(BUILDER_FILE).is_file(),
        "there is no {BUILDER_FILE} in {}; --buildpacks names the folder that has it",
        dir.display()
    );
    Ok(dir)
}

/// `buildpacks/` beside the program (an installation), above it (a checkout), or here.
fn find_buildpacks() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("find the running program")?;
    let here = std::env::current_dir().context("find the working directory")?;
    let places: Vec<PathBuf> = program
        .ancestors()
        .skip(1)
        .take(3)
        .map(PathBuf::from)
        .chain([here])
        .map(|dir| dir.join("buildpacks"))
        .collect();
    places
        .into_iter()
        .find(|dir| dir.join("builder.toml").is_file())
        .context(
            "buildpacks/ was not found beside the program or in the working directory; \
         say where it is with --buildpacks",
        )
}
