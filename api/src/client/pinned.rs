//! A client over the cluster port: it trusts one certificate authority and nobody else, proves
//! itself by a certificate that may change while it runs, and knows controllers by address, whatever
//! name is asked for.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, RootCertStore,
    client::{
        ResolvesClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    sign::CertifiedKey,
};
use tokio::net::{TcpStream, lookup_host};
use url::Url;

use super::{CONNECT_TIMEOUT, Client, ClientError};
use crate::joining::{CONTROLLER_NAME, CertificateDigest, certificate_digest};

/// How often a silent connection is asked whether it lives, and how long the answer may take: a
/// controller that vanished without a word is noticed before a long poll would end.
const PING: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(10));

/// What a client knows of the controller before it talks to it.
#[derive(Debug, Clone)]
pub enum Trust {
    /// The cluster's certificate authority, in PEM.
    Authority(String),
    /// Its digest, as a join token has it.
    Pin(CertificateDigest),
}

/// Keys, certificates or addresses that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinnedError {
    #[error("the {what} cannot be read")]
    Unreadable {
        what: &'static str,
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    #[error("the {what} cannot be used")]
    Unusable {
        what: &'static str,
        #[source]
        source: rustls::Error,
    },
}

/// Why two ends of the cluster port do not trust each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    #[error("who answers there belongs to another cluster, or is no Fairway controller")]
    OtherCluster,
    #[error("the controller's certificate does not count yet: this machine's clock is behind")]
    NotYet,
    #[error("the controller's certificate has ended: this machine's clock is ahead")]
    Ended,
    #[error("the controller says that this machine's certificate has ended")]
    OurEnded,
    #[error("the controller does not accept this machine's certificate: it is of another cluster")]
    OurRefused,
}

impl ClientError {
    /// Why the two ends do not trust each other, if that is what went wrong.
    pub fn distrust(&self) -> Option<Distrust> {
        let mut error: Option<&(dyn std::error::Error + 'static)> = match self {
            Self::Unreachable { source, .. } => Some(source),
            _ => None,
        };
        while let Some(this) = error {
            if let Some(tls) = this.downcast_ref::<rustls::Error>() {
                return distrust(tls);
            }
            // An I/O error passes over its own inside when it is asked for its source.
            let inside = this
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            let Some(inside) = inside else {
                error = this.source();
                continue;
            };
            // HTTP/2 keeps the text of an error only.
            if let Some(alert) = inside.to_string().strip_prefix("received fatal alert: ") {
                return distrust_of_alert(alert);
            }
            error = Some(inside);
        }
        None
    }
}

/// What the controller's last word before it hung up means, by the name of the alert.
fn distrust_of_alert(name: &str) -> Option<Distrust> {
    let refused = [
        AlertDescription::UnknownCA,
        AlertDescription::BadCertificate,
        AlertDescription::DecryptError,
        AlertDescription::CertificateUnknown,
    ];
    if name == format!("{:?}", AlertDescription::CertificateExpired) {
        Some(Distrust::OurEnded)
    } else if refused.iter().any(|alert| name == format!("{alert:?}")) {
        Some(Distrust::OurRefused)
    } else {
        None
    }
}

fn distrust(error: &rustls::Error) -> Option<Distrust> {
    use rustls::Error::{AlertReceived, InvalidCertificate};
    Some(match error {
        InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => Distrust::NotYet,
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            Distrust::Ended
        }
        InvalidCertificate(_) => Distrust::OtherCluster,
        AlertReceived(alert) => return distrust_of_alert(&format!("{alert:?}")),
        _ => return None,
    })
}

/// A key and its certificate, for every connection that is opened from now on. Empty before a
/// machine has joined.
pub struct ClientCertificate {
    provider: CryptoProvider,
    current: Mutex<Option<Arc<CertifiedKey>>>,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate")
    }
}

impl Default for ClientCertificate {
    fn default() -> Self {
        Self {
            provider: ring::default_provider(),
            current: Mutex::default(),
        }
    }
}

impl ClientCertificate {
    /// Takes another certificate and key, in PEM.
    ///
    /// # Errors
    /// When they cannot be read or do not belong together.
    pub fn set(&self, certificate: &str, key: &str) -> Result<(), PinnedError> {
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(unreadable("certificate"))?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(unreadable("key"))?;
        let certified =
            CertifiedKey::from_der(chain, key, &self.provider).map_err(unusable("certificate"))?;
        *self
            .current
            .lock()
            .expect("no code panics while it holds this lock") = Some(Arc::new(certified));
        Ok(())
    }

    fn get(&self) -> Option<Arc<CertifiedKey>> {
        self.current
            .lock()
            .expect("no code panics while it holds this lock")
            .clone()
    }
}

impl ResolvesClientCert for ClientCertificate {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _schemes: &[rustls::SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.get()
    }

    fn has_certs(&self) -> bool {
        self.get().is_some()
    }
}

/// What a client needs to open connections of its own beside HTTP's.
#[derive(Debug)]
pub(super) struct Pinned {
    controllers: Controllers,
    /// For HTTP/1.1, since upgrades need it.
    pub(super) tls: Arc<ClientConfig>,
    pub(super) upgrades: reqwest::Client,
}

impl Pinned {
    /// A connection to the first controller that answers.
    pub(super) async fn connect(&self) -> io::Result<TcpStream> {
        let addresses: Vec<SocketAddr> = self.controllers.resolve_all().await?;
        let connecting = TcpStream::connect(&addresses[..]);
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Client {
    /// A client of the controllers at these addresses (HOST:PORT, tried in this order).
    ///
    /// # Errors
    /// When the authority cannot be read.
    ///
    /// # Panics
    /// If the TLS settings of the process cannot be used, which no input can cause.
    pub fn pinned(
        controllers: Vec<String>,
        trust: &Trust,
        certificate: Arc<ClientCertificate>,
    ) -> Result<Self, PinnedError> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("ring speaks the default versions of TLS");
        let builder = match trust {
            Trust::Authority(pem) => builder.with_root_certificates(roots(pem)?),
            Trust::Pin(pin) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(PinVerifier {
                    pin: *pin,
                    provider,
                })),
        };
        let mut tls = builder.with_client_cert_resolver(certificate);
        // A resumed session would carry the certificate of the one before.
        tls.resumption = rustls::client::Resumption::disabled();
        let mut for_http = tls.clone();
        for_http.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let controllers = Controllers(controllers.into());
        let http = |tls| {
            reqwest::Client::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_nodelay(true)
                .no_proxy()
                .https_only(true)
                .http2_keep_alive_interval(PING.0)
                .http2_keep_alive_timeout(PING.1)
                .dns_resolver(Arc::new(controllers.clone()))
                .tls_backend_preconfigured(tls)
                .build()
                .expect("the TLS settings are complete")
        };
        let base = Url::parse(&format!("https://{CONTROLLER_NAME}"))
            .expect("the controller's name is a hostname");
        Ok(Self {
            http: http(for_http),
            base,
            token: None,
            pinned: Some(Arc::new(Pinned {
                upgrades: http(tls.clone()),
                controllers,
                tls: Arc::new(tls),
            })),
        })
    }
}

fn roots(pem: &str) -> Result<RootCertStore, PinnedError> {
    let authority = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(unreadable("certificate authority"))?;
    let mut roots = RootCertStore::empty();
    roots
        .add(authority)
        .map_err(unusable("certificate authority"))?;
    Ok(roots)
}

fn unreadable(what: &'static str) -> impl FnOnce(rustls::pki_types::pem::Error) -> PinnedError {
    move |source| PinnedError::Unreadable { what, source }
}

fn unusable(what: &'static str) -> impl FnOnce(rustls::Error) -> PinnedError {
    move |source| PinnedError::Unusable { what, source }
}

/// Controllers by address; every name leads to them.
#[derive(Debug, Clone)]
struct Controllers(Arc<[String]>);

impl Controllers {
    async fn resolve_all(&self) -> io::Result<Vec<SocketAddr>> {
        let mut found = Vec::new();
        let mut failed = None;
        for controller in self.0.iter() {
            match lookup_host(controller).await {
                Ok(addresses) => found.extend(addresses),
                Err(error) => {
                    let error = io::Error::new(error.kind(), format!("{controller}: {error}"));
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) if found.is_empty() => Err(error),
            _ => Ok(found),
        }
    }
}

impl Resolve for Controllers {
    fn resolve(&self, _name: Name) -> Resolving {
        let controllers = self.clone();
        Box::pin(async move {
            let addresses = controllers.resolve_all().await?;
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}

/// Trusts the authority with one digest, which the controller sends along with its certificate.
#[derive(Debug)]
struct PinVerifier {
    pin: CertificateDigest,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let unknown = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let authority = intermediates
            .iter()
            .find(|certificate| certificate_digest(certificate) == self.pin)
            .ok_or_else(unknown)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let provider = Arc::clone(&self.provider);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|_| unknown())?;
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
