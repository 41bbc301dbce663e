//! The cluster's certificate authority: made once, its key kept under the master key. It says which
//! machine holds a key, and that this process is the controller.

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use fairway_api::{
    ids::{ClusterId, NodeId},
    joining::{CONTROLLER_NAME, CertificateDigest, certificate_digest},
    names::NodeName,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};

use crate::{
    secrets::Secrets,
    store::{
        Store,
        cluster::{self, ClusterRow},
    },
};

/// How long the authority counts. There is no way to replace one yet, so it has to last.
const AUTHORITY_LIFE: TimeDelta = TimeDelta::days(10 * 365);
/// How long a machine's certificate counts: it can be away for a weekend and a holiday, and a stolen
/// one does not count for ever.
pub const NODE_CERTIFICATE_LIFE: TimeDelta = TimeDelta::days(7);
/// How long the controller's own counts.
pub(crate) const SERVER_CERTIFICATE_LIFE: TimeDelta = TimeDelta::days(30);
/// How long before its making a certificate begins to count: clocks differ, and one that is an hour
/// off (a forgotten time zone) must not keep a machine out.
const BEGINS_BEFORE: TimeDelta = TimeDelta::hours(2);
/// Under which context the key is sealed.
const KEY_CONTEXT: &str = "cluster/authority";
/// Random bytes of a serial number.
const SERIAL_BYTES: usize = 16;

/// Why no certificate was made for a request.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    #[error("the certificate signing request cannot be used: {0}")]
    Request(rcgen::Error),
    #[error("cannot sign a certificate")]
    Sign(#[source] rcgen::Error),
}

/// The authority, ready to sign.
pub struct Authority {
    cluster: ClusterId,
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads the cluster's authority, or makes it when there is none.
    pub async fn open(
        store: &Store,
        secrets: &Secrets,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Self> {
        let stored = cluster::get(&mut *store.read().await?).await?;
        let row = match stored {
            Some(row) => row,
            None => {
                let row = generate(secrets, now).context("make the certificate authority")?;
                let mut tx = store.write().await?;
                cluster::insert(&mut tx, &row, now).await?;
                tx.commit().await?;
                row
            }
        };
        let key = secrets
            .open_sealed(&row.key, KEY_CONTEXT)
            .context("open the key of the cluster's certificate authority")?;
        let key = KeyPair::from_pem(&String::from_utf8_lossy(&key))
            .context("read the key of the cluster's certificate authority")?;
        let der = CertificateDer::from_pem_slice(row.certificate.as_bytes())
            .context("read the cluster's certificate authority")?;
        let issuer = Issuer::from_ca_cert_der(&der, key)
            .context("read the cluster's certificate authority")?;
        Ok(Self {
            cluster: row.id,
            pem: row.certificate,
            der,
            issuer,
        })
    }

    /// The cluster it speaks for.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Its certificate, for those who are to trust it.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The same in DER.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The digest by which it is pinned.
    pub fn digest(&self) -> CertificateDigest {
        certificate_digest(&self.der)
    }

    /// A certificate in PEM that says which machine holds the key of the request. Nothing else in
    /// the request counts.
    pub fn certify_node(
        &self,
        csr: &str,
        id: NodeId,
        name: &NodeName,
        now: DateTime<Utc>,
    ) -> Result<(String, DateTime<Utc>), IssueError> {
        let csr = CertificateSigningRequestParams::from_pem(csr).map_err(IssueError::Request)?;
        let uri = format!("fairway://{}/node/{id}/{name}", self.cluster);
        let mut params = params(now, NODE_CERTIFICATE_LIFE);
        params.distinguished_name = named(&format!("Fairway node {name}"));
        params.subject_alt_names = vec![SanType::URI(uri.try_into().map_err(IssueError::Sign)?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params
            .signed_by(&csr.public_key, &self.issuer)
            .map_err(IssueError::Sign)?;
        Ok((certificate.pem(), now + NODE_CERTIFICATE_LIFE))
    }

    /// A fresh key and certificate for this process as the controller.
    pub(crate) fn certify_server(
        &self,
        now: DateTime<Utc>,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), IssueError> {
        let key = KeyPair::generate().map_err(IssueError::Sign)?;
        let mut params = params(now, SERVER_CERTIFICATE_LIFE);
        params.distinguished_name = named("Fairway controller");
        params.subject_alt_names = vec![SanType::DnsName(
            CONTROLLER_NAME.try_into().map_err(IssueError::Sign)?,
        )];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(IssueError::Sign)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Ok((certificate.der().clone(), key.into()))
    }
}

fn generate(secrets: &Secrets, now: DateTime<Utc>) -> Result<ClusterRow, rcgen::Error> {
    let id = ClusterId::generate();
    let key = KeyPair::generate()?;
    let mut params = params(now, AUTHORITY_LIFE);
    params.distinguished_name = named(&format!("Fairway cluster {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    Ok(ClusterRow {
        id,
        certificate: certificate.pem(),
        key: secrets.seal(key.serialize_pem().as_bytes(), KEY_CONTEXT),
    })
}

fn params(now: DateTime<Utc>, life: TimeDelta) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = certificate_time(now - BEGINS_BEFORE);
    params.not_after = certificate_time(now + life);
    // By hand: the one that is made otherwise is derived from the key alone.
    params.serial_number = Some(SerialNumber::from_slice(
        &rand::random::<[u8; SERIAL_BYTES]>(),
    ));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn certificate_time(at: DateTime<Utc>) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(at.timestamp())
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}
