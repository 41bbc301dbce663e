//! How the cluster port proves itself, and what it asks of who connects.

use std::sync::{Arc, Mutex};

use anyhow::Context;
use chrono::{DateTime, Utc};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};

use crate::{
    membership::{Authority, authority::SERVER_CERTIFICATE_LIFE},
    state::AppState,
    store::columns::now,
};

/// A certificate is optional in the handshake, since a machine that joins has none yet; the routes
/// ask for it. One that is shown must be of this cluster and count today.
pub(super) fn server_config(state: &AppState) -> anyhow::Result<ServerConfig> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(state.authority.der().clone())
        .context("trust the cluster's certificate authority")?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .context("set up the check of certificates")?;
    let certificates = OwnCertificate {
        state: state.clone(),
        provider: Arc::clone(&provider),
        current: Mutex::default(),
    };
    // Made now, so that a fault shows at the start and not in the first handshake.
    certificates.at(now())?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("set up TLS")?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The controller's certificate: made in this process, and made anew in a handshake once two thirds
/// of its life are over.
struct OwnCertificate {
    state: AppState,
    provider: Arc<CryptoProvider>,
    current: Mutex<Option<(Arc<CertifiedKey>, DateTime<Utc>)>>,
}

impl std::fmt::Debug for OwnCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnCertificate")
    }
}

impl OwnCertificate {
    fn at(&self, now: DateTime<Utc>) -> anyhow::Result<Arc<CertifiedKey>> {
        let mut current = self
            .current
            .lock()
            .expect("no code panics while it holds this lock");
        if let Some((certificate, renew_at)) = &*current
            && now < *renew_at
        {
            return Ok(Arc::clone(certificate));
        }
        let made = Arc::new(make(&self.state.authority, &self.provider, now)?);
        *current = Some((Arc::clone(&made), now + SERVER_CERTIFICATE_LIFE * 2 / 3));
        Ok(made)
    }
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.at(now())
            .inspect_err(|error| {
                tracing::error!("cannot make the cluster port's certificate: {error:#}")
            })
            .ok()
    }
}

/// The authority goes along: a machine that joins knows only its digest.
fn make(
    authority: &Authority,
    provider: &CryptoProvider,
    now: DateTime<Utc>,
) -> anyhow::Result<CertifiedKey> {
    let (certificate, key) = authority.certify_server(now)?;
    let chain = vec![certificate, authority.der().clone()];
    CertifiedKey::from_der(chain, key, provider).context("use the certificate that was just made")
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::testing::Rig;

    #[tokio::test]
    async fn the_certificate_is_made_anew_after_two_thirds_of_its_life() {
        let rig = Rig::new().await;
        let own = OwnCertificate {
            state: rig.state().clone(),
            provider: Arc::new(ring::default_provider()),
            current: Mutex::default(),
        };
        let start = now();
        let first = own.at(start).unwrap();
        let later = own.at(start + TimeDelta::days(19)).unwrap();
        assert_eq!(first.cert, later.cert);
        let renewed = own.at(start + TimeDelta::days(21)).unwrap();
        assert_ne!(first.cert[0], renewed.cert[0]);
        assert_eq!(first.cert[1], renewed.cert[1], "the authority stays");
    }
}
