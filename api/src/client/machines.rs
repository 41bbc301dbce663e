//! Calls of operators: the machines of the cluster.

use reqwest::Method;

use super::{Client, ClientError};
use crate::{
    machines::{NewNodeToken, Node, NodePatch, NodePod, NodeToken},
    names::NodeName,
    rebalance::Rebalance,
};

impl Client {
    /// What rebalancing would move; for admins.
    pub async fn rebalance_plan(&self) -> Result<Rebalance, ClientError> {
        self.get("/rebalance").await
    }

    /// Lets pods move to better machines for a while; for admins.
    pub async fn rebalance(&self) -> Result<Rebalance, ClientError> {
        self.call(Method::POST, "/rebalance", &()).await
    }

    /// All machines, by name.
    pub async fn nodes(&self) -> Result<Vec<Node>, ClientError> {
        self.get("/nodes").await
    }

    /// One machine.
    pub async fn node(&self, name: &NodeName) -> Result<Node, ClientError> {
        self.get(&format!("/nodes/{name}")).await
    }

    /// The pods of one machine, those that end included.
    pub async fn node_pods(&self, name: &NodeName) -> Result<Vec<NodePod>, ClientError> {
        self.get(&format!("/nodes/{name}/pods")).await
    }

    /// Changes what is asked of a machine, its labels or taints.
    pub async fn update_node(
        &self,
        name: &NodeName,
        patch: &NodePatch,
    ) -> Result<Node, ClientError> {
        self.call(Method::PATCH, &format!("/nodes/{name}"), patch)
            .await
    }

    /// Removes a machine from the cluster; with `force` also one that lives and has pods.
    pub async fn remove_node(&self, name: &NodeName, force: bool) -> Result<Node, ClientError> {
        let query = if force { "?force=true" } else { "" };
        let path = format!("/nodes/{name}{query}");
        self.call(Method::DELETE, &path, &()).await
    }

    /// Makes a token that lets one machine join.
    pub async fn create_node_token(&self, new: &NewNodeToken) -> Result<NodeToken, ClientError> {
        self.call(Method::POST, "/node-tokens", new).await
    }
}
