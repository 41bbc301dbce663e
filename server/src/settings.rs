//! Settings of `fairway up`: flags win over `FAIRWAY_*` variables, they over `fairway.toml`.

use std::{
    net::{IpAddr, SocketAddr},
    num::{NonZeroU64, NonZeroUsize},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::{Args, Command};
use fairway_api::{
    disk::DiskReserve,
    names::{Email, HostPath, Hostname, NodeName},
    network::Subnet,
};
use serde::Deserialize;
use url::Url;

use crate::policy::{Placing, PolicyArgs};

/// How alike a misspelt key must be to a known one to be named, from 0 to 1.
const ALIKE_MIN: f64 = 0.6;

/// Everything that can be set. A key of `fairway.toml` is the flag without its dashes.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Read settings from this file [default: fairway.toml, if it is there]
    #[arg(long, env = "FAIRWAY_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,

    /// Keep database, repositories, images and keys here [default: /var/lib/fairway]
    #[arg(long, env = "FAIRWAY_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// API, dashboard and git over HTTP [default: 127.0.0.1:7000]
    #[arg(long, env = "FAIRWAY_LISTEN_API", value_name = "ADDRESS")]
    pub listen_api: Option<SocketAddr>,

    /// Git over SSH [default: 0.0.0.0:2222]
    #[arg(long, env = "FAIRWAY_LISTEN_SSH", value_name = "ADDRESS")]
    pub listen_ssh: Option<SocketAddr>,

    /// The built-in registry [default: 127.0.0.1:5000]
    #[arg(long, env = "FAIRWAY_LISTEN_REGISTRY", value_name = "ADDRESS")]
    pub listen_registry: Option<SocketAddr>,

    /// Requests to apps [default: 0.0.0.0:8080]
    #[arg(long, env = "FAIRWAY_LISTEN_HTTP", value_name = "ADDRESS")]
    pub listen_http: Option<SocketAddr>,

    /// Where machines of the cluster connect, encrypted [default: 0.0.0.0:7001]
    #[arg(long, env = "FAIRWAY_LISTEN_CLUSTER", value_name = "ADDRESS")]
    pub listen_cluster: Option<SocketAddr>,

    /// How other machines reach it [default: the host of the public URL, else this machine's address]
    #[arg(long, env = "FAIRWAY_CLUSTER_ADDRESS", value_name = "HOST:PORT")]
    pub cluster_address: Option<String>,

    /// Apps answer as APP.DOMAIN [default: localhost]
    #[arg(long, env = "FAIRWAY_BASE_DOMAIN", value_name = "DOMAIN")]
    pub base_domain: Option<Hostname>,

    /// How people reach the API [default: http://localhost: and the port of the API]
    #[arg(long, env = "FAIRWAY_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<Url>,

    /// Name of this machine [default: its hostname]
    #[arg(long, env = "FAIRWAY_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<NodeName>,

    /// The first account, made at first start [default: admin@localhost]
    #[arg(long, env = "FAIRWAY_ADMIN_EMAIL", value_name = "EMAIL")]
    pub admin_email: Option<Email>,

    /// Make an app when somebody pushes to a name that is not taken
    #[arg(long, env = "FAIRWAY_CREATE_ON_PUSH", num_args = 0..=1, default_missing_value = "true")]
    pub create_on_push: Option<bool>,

    /// Where buildpacks are [default: buildpacks/ beside the program or the working directory]
    #[arg(long, env = "FAIRWAY_BUILDPACKS", value_name = "DIR")]
    pub buildpacks: Option<PathBuf>,

    /// Keep the stack images made from Debian packages here [default: stack/ in the data]
    #[arg(long, env = "FAIRWAY_STACK_CACHE", value_name = "DIR")]
    pub stack_cache: Option<PathBuf>,

    /// Make the stack images from this mirror of Debian's packages [default: Debian's own]
    #[arg(long, env = "FAIRWAY_DEBIAN_MIRROR", value_name = "URL")]
    pub debian_mirror: Option<Url>,

    /// Further certificate authorities that builds trust, as PEM files [default: this machine's]
    #[arg(
        long,
        env = "FAIRWAY_BUILD_CA_CERTIFICATES",
        value_name = "FILE",
        value_delimiter = ','
    )]
    pub build_ca_certificates: Option<Vec<PathBuf>>,

    /// Container network that builds join [default: one of their own]
    #[arg(long, env = "FAIRWAY_BUILD_NETWORK", value_name = "NAME")]
    pub build_network: Option<String>,

    /// Builds that run at once [default: 2]
    #[arg(long, env = "FAIRWAY_BUILDS_AT_ONCE", value_name = "COUNT")]
    pub builds_at_once: Option<NonZeroUsize>,

    /// Memory of one build, in MiB [default: half of this machine's]
    #[arg(long, env = "FAIRWAY_BUILD_MEMORY_MIB", value_name = "COUNT")]
    pub build_memory_mib: Option<NonZeroU64>,

    /// Time of one build, in minutes [default: 30]
    #[arg(long, env = "FAIRWAY_BUILD_MINUTES", value_name = "COUNT")]
    pub build_minutes: Option<NonZeroU64>,

    /// Network of all pods, such as 10.64.0.0/11 [default: one that this machine has no route to]
    #[arg(long, env = "FAIRWAY_POD_NETWORK", value_name = "NETWORK")]
    pub pod_network: Option<Subnet>,

    /// UDP port of the tunnels between machines [default: 7002]
    #[arg(long, env = "FAIRWAY_VXLAN_PORT", value_name = "PORT")]
    pub vxlan_port: Option<u16>,

    /// Where other machines reach this one [default: the address it uses towards the world]
    #[arg(long, env = "FAIRWAY_UNDERLAY", value_name = "ADDRESS")]
    pub underlay: Option<IpAddr>,

    /// How much of the disk stays free, as 5% or 4GiB; 0 for no watch over it [default: 5%, at most 2GiB]
    #[arg(long, env = "FAIRWAY_DISK_RESERVE", value_name = "AMOUNT")]
    pub disk_reserve: Option<DiskReserve>,

    /// Directories of this machine that volumes of apps may be in [default: none]
    #[arg(
        long,
        env = "FAIRWAY_ALLOW_HOST_PATH",
        value_name = "DIR",
        value_delimiter = ','
    )]
    pub allow_host_path: Option<Vec<HostPath>>,

    /// Images of past releases kept per app, for rollbacks [default: 10]
    #[arg(long, env = "FAIRWAY_KEEP_IMAGES", value_name = "COUNT")]
    pub keep_images: Option<NonZeroUsize>,

    /// Push to and pull from this registry, as host:port [default: the built-in one]
    #[arg(long, env = "FAIRWAY_REGISTRY", value_name = "HOST")]
    pub registry: Option<String>,

    /// User name for that registry [default: none]
    #[arg(long, env = "FAIRWAY_REGISTRY_USERNAME", value_name = "NAME")]
    pub registry_username: Option<String>,

    /// File with the password for that registry [default: none]
    #[arg(long, env = "FAIRWAY_REGISTRY_PASSWORD_FILE", value_name = "FILE")]
    pub registry_password_file: Option<PathBuf>,

    /// Seconds until a silent machine counts as lost and its pods are replaced [default: 10]
    #[arg(long, env = "FAIRWAY_NODE_LOST_SECS", value_name = "SECONDS")]
    pub node_lost_secs: Option<u32>,

    /// How pods are shared out over machines [default: spread]
    #[arg(long, env = "FAIRWAY_PLACEMENT", value_name = "HOW")]
    pub placement: Option<Placing>,

    /// Memory promised to pods, in percent of what a machine has [default: 400]
    #[arg(long, env = "FAIRWAY_OVERCOMMIT_MEMORY", value_name = "PERCENT")]
    pub overcommit_memory: Option<u32>,

    /// CPU time promised to pods, in percent of what a machine has [default: 3200]
    #[arg(long, env = "FAIRWAY_OVERCOMMIT_CPU", value_name = "PERCENT")]
    pub overcommit_cpu: Option<u32>,

    /// Share of machines that may be lost at once and still be replaced at once, in percent [default: 50]
    #[arg(long, env = "FAIRWAY_BRAKE", value_name = "PERCENT")]
    pub brake: Option<u32>,

    /// Move pods that run to machines that joined later or are emptier, a few at a time [default: false]
    #[arg(
        long,
        env = "FAIRWAY_REBALANCE",
        num_args = 0..=1,
        default_missing_value = "true",
        value_name = "BOOL"
    )]
    pub rebalance: Option<bool>,

    /// Write progress lines to this pipe or file, and `ready` at the end
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub progress: Option<PathBuf>,
}

impl Settings {
    /// These settings with what they leave open taken from the file.
    ///
    /// # Errors
    /// When a file that was asked for cannot be read, or one has an unknown key or a wrong value.
    pub fn with_file(self) -> anyhow::Result<Self> {
        let (path, asked_for) = match &self.config {
            Some(path) => (path.clone(), true),
            None => (PathBuf::from("fairway.toml"), false),
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(self.or(parse_file(&path, &text)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !asked_for => Ok(self),
            Err(error) => {
                Err(error).with_context(|| format!("read settings from {}", path.display()))
            }
        }
    }

    /// What it decides of placement and silent machines.
    pub(crate) fn policy_args(&self) -> PolicyArgs {
        PolicyArgs {
            node_lost_secs: self.node_lost_secs,
            placement: self.placement,
            overcommit_memory: self.overcommit_memory,
            overcommit_cpu: self.overcommit_cpu,
            brake: self.brake,
            rebalance: self.rebalance,
        }
    }

    fn or(self, file: Self) -> Self {
        Self {
            config: self.config,
            data: self.data.or(file.data),
            listen_api: self.listen_api.or(file.listen_api),
            listen_ssh: self.listen_ssh.or(file.listen_ssh),
            listen_registry: self.listen_registry.or(file.listen_registry),
            listen_http: self.listen_http.or(file.listen_http),
            listen_cluster: self.listen_cluster.or(file.listen_cluster),
            cluster_address: self.cluster_address.or(file.cluster_address),
            base_domain: self.base_domain.or(file.base_domain),
            public_url: self.public_url.or(file.public_url),
            node_name: self.node_name.or(file.node_name),
            admin_email: self.admin_email.or(file.admin_email),
            create_on_push: self.create_on_push.or(file.create_on_push),
            buildpacks: self.buildpacks.or(file.buildpacks),
            stack_cache: self.stack_cache.or(file.stack_cache),
            debian_mirror: self.debian_mirror.or(file.debian_mirror),
            build_ca_certificates: self.build_ca_certificates.or(file.build_ca_certificates),
            build_network: self.build_network.or(file.build_network),
            builds_at_once: self.builds_at_once.or(file.builds_at_once),
            build_memory_mib: self.build_memory_mib.or(file.build_memory_mib),
            build_minutes: self.build_minutes.or(file.build_minutes),
            pod_network: self.pod_network.or(file.pod_network),
            vxlan_port: self.vxlan_port.or(file.vxlan_port),
            underlay: self.underlay.or(file.underlay),
            disk_reserve: self.disk_reserve.or(file.disk_reserve),
            allow_host_path: self.allow_host_path.or(file.allow_host_path),
            keep_images: self.keep_images.or(file.keep_images),
            registry: self.registry.or(file.registry),
            registry_username: self.registry_username.or(file.registry_username),
            registry_password_file: self.registry_password_file.or(file.registry_password_file),
            node_lost_secs: self.node_lost_secs.or(file.node_lost_secs),
            placement: self.placement.or(file.placement),
            overcommit_memory: self.overcommit_memory.or(file.overcommit_memory),
            overcommit_cpu: self.overcommit_cpu.or(file.overcommit_cpu),
            brake: self.brake.or(file.brake),
            rebalance: self.rebalance.or(file.rebalance),
            progress: self.progress,
        }
    }
}

fn parse_file(path: &Path, text: &str) -> anyhow::Result<Settings> {
    let table: toml::Table = text
        .parse()
        .with_context(|| format!("read settings from {}", path.display()))?;
    let known = known_keys();
    for key in table.keys() {
        if !known.contains(key) {
            bail!(
                "{}: unknown setting {key:?}{}",
                path.display(),
                suggestion(key, &known)
            );
        }
    }
    toml::from_str(text).with_context(|| format!("read settings from {}", path.display()))
}

/// The flags are the keys, so that the two cannot drift apart.
fn known_keys() -> Vec<String> {
    Settings::augment_args(Command::new("up"))
        .get_arguments()
        .filter_map(|arg| arg.get_long())
        .filter(|key| !["config", "progress"].contains(key))
        .map(str::to_owned)
        .collect()
}

fn suggestion(key: &str, known: &[String]) -> String {
    let alike = |known: &String| strsim::jaro_winkler(key, known);
    match known.iter().max_by(|a, b| alike(a).total_cmp(&alike(b))) {
        Some(best) if alike(best) >= ALIKE_MIN => format!("; did you mean {best:?}?"),
        _ => format!("; known are: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        parse_file(Path::new("fairway.toml"), text).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = parse("data = \"/from/file\"\nbase-domain = \"example.com\"").unwrap();
        let flags = Settings {
            data: Some("/from/flag".into()),
            ..Settings::default()
        };
        let settings = flags.or(file);
        assert_eq!(settings.data, Some("/from/flag".into()));
        assert_eq!(settings.base_domain.unwrap().as_str(), "example.com");
    }

    #[test]
    fn every_flag_can_stand_in_the_file() {
        let text = "data = \"/d\"\nlisten-api = \"127.0.0.1:1\"\nlisten-ssh = \"127.0.0.1:2\"\n\
            listen-registry = \"127.0.0.1:3\"\nlisten-http = \"127.0.0.1:4\"\n\
            listen-cluster = \"127.0.0.1:5\"\ncluster-address = \"a.b:7001\"\n\
            base-domain = \"a.b\"\npublic-url = \"http://a.b\"\nnode-name = \"n\"\n\
            admin-email = \"a@b\"\ncreate-on-push = true\nbuildpacks = \"/b\"\n\
            stack-cache = \"/s\"\ndebian-mirror = \"http://a.b\"\n\
            build-ca-certificates = [\"/c\"]\nbuild-network = \"host\"\n\
            builds-at-once = 1\nbuild-memory-mib = 512\nbuild-minutes = 5\nkeep-images = 3\n\
            pod-network = \"10.64.0.0/11\"\nvxlan-port = 7002\nunderlay = \"192.0.2.1\"\n\
            allow-host-path = [\"/srv\"]\n\
            registry = \"r.example.com\"\nregistry-username = \"u\"\n\
            registry-password-file = \"/p\"\nnode-lost-secs = 30\nplacement = \"pack\"\n\
            overcommit-memory = 100\ndisk-reserve = \"5%\"\novercommit-cpu = 100\nbrake = 30\n\
             rebalance = true\n";
        parse(text).unwrap();
        assert_eq!(text.lines().count(), known_keys().len());
    }

    #[test]
    fn mistakes_are_named() {
        let error = parse("listen-apy = \"127.0.0.1:1\"").unwrap_err();
        assert!(error.contains("did you mean \"listen-api\"?"), "{error}");
        let error = parse("xyzzy = 1").unwrap_err();
        assert!(error.contains("known are: data"), "{error}");
        let error = parse("base-domain = \"not a host\"").unwrap_err();
        assert!(
            error.contains("hostname \"not a host\" is not valid"),
            "{error}"
        );
    }
}
