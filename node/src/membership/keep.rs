//! Renews the certificate long before it ends, for as long as the agent runs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use fairway_api::{
    client::{Client, ClientCertificate},
    joining::CertificateRequest,
};
use rcgen::KeyPair;
use tokio::time::sleep;

use super::{Membership, join::signing_request};

/// The longest sleep before the clock is looked at again, in seconds: it may have been set.
const LOOK_SECS: u64 = 60 * 60;
/// How often another process looks for a certificate that the agent has renewed, in seconds: the old
/// one counts for days more.
const FOLLOW_SECS: u64 = 60;
/// Pause after a try that failed, in seconds: there are days left, and nobody must be flooded.
const AGAIN_SECS: u64 = 60;

/// Renews for ever, in memory and on disk.
pub(crate) async fn keep_certificate(
    client: Client,
    certificate: Arc<ClientCertificate>,
    mut membership: Membership,
    dir: PathBuf,
) {
    loop {
        let pause = until_renewal(&membership, Utc::now());
        if !pause.is_zero() {
            sleep(pause.min(Duration::from_secs(LOOK_SECS))).await;
            continue;
        }
        match renew(&client, &certificate, &mut membership, &dir).await {
            Ok(()) => {
                tracing::info!(until = %membership.ends_at, "renewed this machine's certificate")
            }
            Err(error) => {
                let until = membership.ends_at;
                tracing::error!(%until, "cannot renew this machine's certificate: {error:#}");
                sleep(Duration::from_secs(AGAIN_SECS)).await;
            }
        }
    }
}

/// Takes over, for ever, each certificate that the machine's agent has renewed: for another process
/// of Fairway on the machine.
pub async fn follow_certificate(dir: PathBuf, certificate: Arc<ClientCertificate>) {
    let mut in_use = String::new();
    loop {
        match Membership::load(&dir) {
            Ok(membership) if membership.certificate != in_use => {
                match certificate.set(&membership.certificate, &membership.key) {
                    Ok(()) => in_use = membership.certificate,
                    Err(error) => tracing::error!(
                        "cannot use the machine's certificate: {:#}",
                        anyhow::Error::from(error)
                    ),
                }
            }
            Ok(_) => {}
            // The one in use counts for days more, if the machine is still part of the cluster.
            Err(error) => tracing::error!("{:#}", anyhow::Error::from(error)),
        }
        sleep(Duration::from_secs(FOLLOW_SECS)).await;
    }
}

/// How long until two thirds of the certificate's life are over; zero from then on. A clock that
/// was set back is no reason to wait longer than a certificate lives.
fn until_renewal(membership: &Membership, now: DateTime<Utc>) -> Duration {
    let life = membership.ends_at - membership.issued_at;
    if now < membership.issued_at - life {
        return Duration::ZERO;
    }
    let renew_at = membership.issued_at + life * 2 / 3;
    (renew_at - now)
        .max(TimeDelta::zero())
        .to_std()
        .unwrap_or_default()
}

async fn renew(
    client: &Client,
    certificate: &ClientCertificate,
    membership: &mut Membership,
    dir: &Path,
) -> anyhow::Result<()> {
    let key = KeyPair::generate().context("make a key")?;
    let csr = signing_request(&key).context("ask for a certificate")?;
    let request = CertificateRequest { csr };
    let issued = client
        .renew_certificate(&membership.name, &request)
        .await
        .context("ask the controller")?;
    let mut renewed = membership.clone();
    renewed.take(issued, &key, Utc::now());
    // In use only once it is kept: with the old one the machine could still come back.
    renewed.save(dir)?;
    certificate.set(&renewed.certificate, &renewed.key)?;
    *membership = renewed;
    Ok(())
}
