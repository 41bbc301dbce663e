//! The engine's network for pods.

use std::collections::HashMap;

use bollard::{
    models::{Ipam, IpamConfig, NetworkCreateRequest},
    query_parameters::ListNetworksOptions,
};
use fairway_api::network::Subnet;

use super::{Engine, EngineError};
use crate::container::LABEL_INSTANCE;

/// A network as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodNetwork {
    pub(crate) name: String,
    /// `None` leaves addresses and device to the engine.
    pub(crate) addresses: Option<Addresses>,
}

/// A network with a subnet of the pod network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) subnet: Subnet,
    pub(crate) bridge: String,
    /// From where pods of other machines come.
    pub(crate) tunnel: String,
    pub(crate) mtu: u32,
}

impl Engine {
    /// Makes a pod network if it is missing, and removes those of this instance that no pod uses
    /// any more. Its pods cannot reach each other by themselves: what may pass is marked by our
    /// packet filter.
    pub(crate) async fn ensure_network(&self, wanted: &PodNetwork) -> Result<(), EngineError> {
        let _gate = self.making_network.lock().await;
        let docker = self.docker().await?;
        let found = docker.inspect_network(&wanted.name, None).await;
        match found.map_err(self.failed("find the network")) {
            Ok(_) => return self.remove_other_networks(wanted).await,
            Err(error) if error.status() == Some(404) => {}
            Err(error) => return Err(error),
        }
        let label = (LABEL_INSTANCE.to_owned(), self.instance.clone());
        let request = NetworkCreateRequest {
            name: wanted.name.clone(),
            driver: Some("bridge".into()),
            options: Some(options(wanted)),
            ipam: wanted.addresses.as_ref().map(ipam),
            labels: Some([label].into()),
            ..NetworkCreateRequest::default()
        };
        let made = docker.create_network(request).await;
        match made.map_err(self.failed("make the pod network")) {
            Err(error) if error.status() == Some(409) => {}
            other => drop(other?),
        }
        self.remove_other_networks(wanted).await
    }

    async fn remove_other_networks(&self, wanted: &PodNetwork) -> Result<(), EngineError> {
        let docker = self.docker().await?;
        let label = vec![format!("{LABEL_INSTANCE}={}", self.instance)];
        let options = ListNetworksOptions {
            filters: Some(HashMap::from([("label".to_owned(), label)])),
        };
        let all = docker.list_networks(Some(options)).await;
        for network in all.map_err(self.failed("list the networks"))? {
            let name = network.name.unwrap_or_default();
            if name != wanted.name {
                // The engine refuses while a pod is on it; it goes with the next look after that.
                let gone = docker.remove_network(&name).await;
                tracing::debug!(name, removed = gone.is_ok(), "a network of another subnet");
            }
        }
        Ok(())
    }
}

fn options(wanted: &PodNetwork) -> HashMap<String, String> {
    let mut options = vec![("com.docker.network.bridge.enable_icc", "false".to_owned())];
    if let Some(addresses) = &wanted.addresses {
        options.extend([
            ("com.docker.network.bridge.name", addresses.bridge.clone()),
            ("com.docker.network.driver.mtu", addresses.mtu.to_string()),
            // Ours leaves the pod network's own packets as they are; the engine's would not.
            (
                "com.docker.network.bridge.enable_ip_masquerade",
                "false".to_owned(),
            ),
            // Engines from 28.2 on drop what comes for a pod by another device.
            (
                "com.docker.network.bridge.trusted_host_interfaces",
                addresses.tunnel.clone(),
            ),
        ]);
    }
    options
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn ipam(addresses: &Addresses) -> Ipam {
    let config = IpamConfig {
        subnet: Some(addresses.subnet.to_string()),
        gateway: addresses.subnet.nth(1).map(|gateway| gateway.to_string()),
        ..IpamConfig::default()
    };
    Ipam {
        config: Some(vec![config]),
        ..Ipam::default()
    }
}
