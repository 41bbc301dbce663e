//! How the tools inside a build reach package registries: proxies, mirrors, CA certificates.
//!
//! These are an operator's settings. What is taken from this machine by default is what makes the
//! same tools work on it, except for anything with a user name or password in it: builds run other
//! people's code, so that a credential gets there only by an operator's own decision. None of it
//! is ever written into an image.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use url::Url;

/// Where the certificates lie inside a build container.
pub(crate) const CA_PATH: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The variables by which tools are told where the certificates are.
const CA_VARIABLES: [&str; 10] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "NPM_CONFIG_CAFILE",
    "CARGO_HTTP_CAINFO",
    "BUNDLE_SSL_CA_CERT",
    "AWS_CA_BUNDLE",
];
/// Where distributions keep the certificates that a machine trusts.
const HOST_BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];
/// Variables that are passed on, compared in upper case.
const PROXY_VARIABLES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"];
/// Variables of package tools that are passed on, compared in upper case.
const MIRROR_VARIABLES: [&str; 11] = [
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_RETRIES",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "NPM_CONFIG_REGISTRY",
    "NPM_CONFIG_STRICT_SSL",
    "GOPROXY",
    "GOSUMDB",
];
/// The largest configuration file of a tool that is read, in bytes.
const TOOL_FILE_BYTES_MAX: u64 = 256 * 1024;

/// How build containers reach package registries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Toolchain {
    /// Environment of build containers: `https_proxy`, `PIP_INDEX_URL`, `NPM_CONFIG_REGISTRY`.
    pub env: BTreeMap<String, String>,
    /// PEM file of the certificate authorities that builds trust; `None` leaves the stack's own.
    pub ca_bundle: Option<PathBuf>,
    /// PEM files of further authorities, trusted besides those of `ca_bundle`.
    pub extra_ca_certificates: Vec<PathBuf>,
}

impl Toolchain {
    /// What works on this machine: its certificates, its environment, and the mirrors in the
    /// configuration of pip and npm.
    pub fn from_host() -> Self {
        let variables: BTreeMap<String, String> = std::env::vars().collect();
        let home = variables.get("HOME").map(PathBuf::from).unwrap_or_default();
        let pip = [
            PathBuf::from("/etc/pip.conf"),
            home.join(".pip/pip.conf"),
            home.join(".config/pip/pip.conf"),
        ];
        let npm = [PathBuf::from("/etc/npmrc"), home.join(".npmrc")];
        let mut env = BTreeMap::new();
        env.extend(
            pip.iter()
                .filter_map(|path| read(path))
                .flat_map(|text| from_pip_conf(&text)),
        );
        env.extend(
            npm.iter()
                .filter_map(|path| read(path))
                .flat_map(|text| from_npmrc(&text)),
        );
        env.extend(from_variables(&variables));
        let bundle = variables.get("SSL_CERT_FILE").map(PathBuf::from);
        let candidates = bundle
            .into_iter()
            .chain(HOST_BUNDLES.iter().map(PathBuf::from));
        Self {
            env,
            ca_bundle: candidates.into_iter().find(|path| path.is_file()),
            extra_ca_certificates: Vec::new(),
        }
    }

    /// The environment for a build container whose certificates lie at [`CA_PATH`].
    pub(crate) fn container_env(&self) -> BTreeMap<String, String> {
        let mut env = self.env.clone();
        if self.has_certificates() {
            env.extend(
                CA_VARIABLES
                    .iter()
                    .map(|name| ((*name).to_owned(), CA_PATH.to_owned())),
            );
        }
        env
    }

    /// Only the proxies: what `docker build` takes as predefined build arguments.
    pub(crate) fn proxies(&self) -> BTreeMap<String, String> {
        let is_proxy = |name: &str| PROXY_VARIABLES.contains(&name.to_ascii_uppercase().as_str());
        self.env
            .iter()
            .filter(|(k, _)| is_proxy(k))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    }

    /// Writes all certificates into one file at `path`. False when there are none.
    pub(crate) fn write_certificates(&self, path: &Path) -> std::io::Result<bool> {
        if !self.has_certificates() {
            return Ok(false);
        }
        let mut bundle = Vec::new();
        for part in self.ca_bundle.iter().chain(&self.extra_ca_certificates) {
            let named = |error| std::io::Error::other(format!("{}: {error}", part.display()));
            bundle.extend(fs::read(part).map_err(named)?);
            bundle.push(b'\n');
        }
        fs::write(path, bundle)?;
        Ok(true)
    }

    fn has_certificates(&self) -> bool {
        self.ca_bundle.is_some() || !self.extra_ca_certificates.is_empty()
    }
}

fn read(path: &Path) -> Option<String> {
    let size = fs::metadata(path).ok()?.len();
    (size <= TOOL_FILE_BYTES_MAX).then(|| fs::read_to_string(path).ok())?
}

/// The proxies and mirrors among these variables.
fn from_variables(variables: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    variables
        .iter()
        .filter(|(name, value)| {
            let upper = name.to_ascii_uppercase();
            let known = PROXY_VARIABLES.contains(&upper.as_str())
                || MIRROR_VARIABLES.contains(&upper.as_str());
            known && may_be_shared(value)
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The mirrors that a pip.conf names, as the variables that mean the same.
fn from_pip_conf(text: &str) -> BTreeMap<String, String> {
    const KEYS: [(&str, &str); 5] = [
        ("index-url", "PIP_INDEX_URL"),
        ("extra-index-url", "PIP_EXTRA_INDEX_URL"),
        ("trusted-host", "PIP_TRUSTED_HOST"),
        ("timeout", "PIP_DEFAULT_TIMEOUT"),
        ("proxy", "PIP_PROXY"),
    ];
    settings(text, &KEYS)
}

/// The registry that an .npmrc names, as the variables that mean the same.
fn from_npmrc(text: &str) -> BTreeMap<String, String> {
    const KEYS: [(&str, &str); 4] = [
        ("registry", "NPM_CONFIG_REGISTRY"),
        ("proxy", "NPM_CONFIG_PROXY"),
        ("https-proxy", "NPM_CONFIG_HTTPS_PROXY"),
        ("noproxy", "NPM_CONFIG_NOPROXY"),
    ];
    settings(text, &KEYS)
}

/// The known `key = value` lines of a file, as variables.
fn settings(text: &str, keys: &[(&str, &str)]) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim().trim_matches('"')))
        .filter(|(_, value)| !value.is_empty() && may_be_shared(value))
        .filter_map(|(key, value)| {
            let (_, variable) = keys.iter().find(|(known, _)| *known == key)?;
            Some(((*variable).to_owned(), value.to_owned()))
        })
        .collect()
}

/// False for a value with a credential in one of its URLs, or one that is only a path of this
/// machine.
fn may_be_shared(value: &str) -> bool {
    !value.starts_with('/')
        && value
            .split([' ', ','])
            .filter(|part| part.contains("://"))
            .all(|part| {
                Url::parse(part)
                    .is_ok_and(|url| url.username().is_empty() && url.password().is_none())
            })
        && !value
            .split([' ', ','])
            .any(|part| !part.contains("://") && part.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn mirrors_and_proxies_are_taken_and_credentials_are_not() {
        let host = map(&[
            ("https_proxy", "http://proxy:3128"),
            ("HTTP_PROXY", "http://me:secret@proxy:3128"),
            ("ALL_PROXY", "me:secret@proxy:3128"),
            ("NO_PROXY", "localhost,.corp"),
            ("PIP_INDEX_URL", "https://mirror/simple"),
            ("PIP_EXTRA_INDEX_URL", "https://a/ https://u:p@b/"),
            ("PIP_FIND_LINKS", "/opt/wheels"),
            ("npm_config_registry", "https://npm.corp/"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
        ]);
        let want = map(&[
            ("https_proxy", "http://proxy:3128"),
            ("NO_PROXY", "localhost,.corp"),
            ("PIP_INDEX_URL", "https://mirror/simple"),
            ("npm_config_registry", "https://npm.corp/"),
        ]);
        assert_eq!(from_variables(&host), want);
        let toolchain = Toolchain {
            env: want,
            ..Toolchain::default()
        };
        let proxies = map(&[
            ("https_proxy", "http://proxy:3128"),
            ("NO_PROXY", "localhost,.corp"),
        ]);
        assert_eq!(toolchain.proxies(), proxies);
    }

    #[test]
    fn files_of_pip_and_npm_are_read() {
        let pip = "[global]\nindex-url = https://m/simple\ncert = /etc/ca\n[install]\nuser=true\n";
        assert_eq!(
            from_pip_conf(pip),
            map(&[("PIP_INDEX_URL", "https://m/simple")])
        );
        assert_eq!(from_pip_conf("index-url=https://u:p@m/simple"), map(&[]));
        let npm = "registry=https://npm.corp/\n//npm.corp/:_authToken=secret\ncafile=/etc/ca\n";
        assert_eq!(
            from_npmrc(npm),
            map(&[("NPM_CONFIG_REGISTRY", "https://npm.corp/")])
        );
    }

    #[test]
    fn certificates_are_joined_and_announced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "A").unwrap();
        fs::write(dir.path().join("b"), "B").unwrap();
        let mut toolchain = Toolchain::default();
        let out = dir.path().join("out");
        assert!(!toolchain.write_certificates(&out).unwrap());
        assert!(toolchain.container_env().is_empty());
        toolchain.ca_bundle = Some(dir.path().join("a"));
        toolchain.extra_ca_certificates = vec![dir.path().join("b")];
        assert!(toolchain.write_certificates(&out).unwrap());
        assert_eq!(fs::read_to_string(&out).unwrap(), "A\nB\n");
        assert_eq!(toolchain.container_env()["NODE_EXTRA_CA_CERTS"], CA_PATH);
        toolchain.extra_ca_certificates = vec![dir.path().join("missing")];
        let error = toolchain.write_certificates(&out).unwrap_err().to_string();
        assert!(error.contains("missing"), "{error}");
    }
}
