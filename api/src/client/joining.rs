//! Calls of a machine that joins, and of a node for itself: certificates, and the registry tunnel.

use reqwest::{Method, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Client, ClientError};
use crate::{
    joining::{
        CertificateRequest, IssuedCertificate, JoinRequest, Joined, TUNNEL_PATH, TUNNEL_PROTOCOL,
    },
    names::NodeName,
};

impl Client {
    /// Asks to become part of the cluster.
    pub async fn join(&self, request: &JoinRequest) -> Result<Joined, ClientError> {
        self.call(Method::POST, "/join", request).await
    }

    /// Asks for the next certificate.
    pub async fn renew_certificate(
        &self,
        node: &NodeName,
        request: &CertificateRequest,
    ) -> Result<IssuedCertificate, ClientError> {
        let path = format!("/internal/nodes/{node}/certificate");
        self.call(Method::POST, &path, request).await
    }

    /// A stream to the registry that only the controller's machine reaches; every call opens one.
    pub async fn registry_tunnel(
        &self,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static, ClientError> {
        let upgrades = self.pinned.as_ref().map_or(&self.http, |it| &it.upgrades);
        let request = upgrades
            .get(self.url(TUNNEL_PATH))
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, TUNNEL_PROTOCOL);
        let response = request
            .send()
            .await
            .map_err(|source| self.unreachable(source))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(super::refused(response).await);
        }
        response
            .upgrade()
            .await
            .map_err(|source| self.unreachable(source))
    }
}
