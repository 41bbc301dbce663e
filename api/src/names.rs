//! Names with rules. Each type is made by parsing; a value that exists is valid.

mod paths;

use std::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A text that breaks the rule of the type it was parsed into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {value:?} is not valid: {rule}")]
pub struct InvalidName {
    /// What was wanted, as the user knows it: "app name".
    pub kind: &'static str,
    /// What was given, cut to a printable length.
    pub value: String,
    /// The rule that it breaks, as a sentence that tells how to satisfy it.
    pub rule: &'static str,
}

/// How much of a refused value an error repeats, in characters.
const QUOTED_CHARS_MAX: usize = 80;

impl InvalidName {
    fn new(kind: &'static str, value: &str, rule: &'static str) -> Self {
        Self {
            kind,
            value: value.chars().take(QUOTED_CHARS_MAX).collect(),
            rule,
        }
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $kind:literal, $rule:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let rule: fn(&str) -> Result<String, &'static str> = $rule;
                rule(text).map(Self).map_err(|rule| InvalidName::new($kind, text, rule))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.0)
            }
        }
    )+};
}

names! {
    /// An app's name: a DNS label of 2 to 30 characters, since it becomes a hostname.
    AppName = "app name", app_name;
    /// A process type of a Procfile: `web`, `worker`. A label, since it becomes a DNS name.
    ProcessType = "process type", process_type;
    /// The name of a job: as a process type, since its pods stand beside those of process types.
    JobName = "job name", process_type;
    /// A full hostname, stored in lower case without the final dot.
    Hostname = "hostname", hostname;
    /// The name of a config var: an environment variable's name.
    ConfigName = "config var name", config_name;
    /// The name of a machine in the cluster: a DNS label of at most 63 characters.
    NodeName = "node name", machine_name;
    /// The name of a running router: a DNS label of at most 63 characters.
    RouterName = "router name", machine_name;
    /// The name of a running builder: a DNS label of at most 63 characters.
    BuilderName = "builder name", machine_name;
    /// One part of a DNS name of the pod network, `db` in `db.shop.internal`: a DNS label of at most
    /// 63 characters.
    ServiceName = "service name", machine_name;
    /// An e-mail address, the name of an account. Only its outer form is checked.
    Email = "email", email;
    /// The name of a size of pod: `standard-1x`. Letter case does not matter: Heroku's clients write
    /// `Standard-1X`.
    SizeName = "size", |text| machine_name(&text.to_ascii_lowercase());
    /// A digest as OCI writes it, `sha256:` and 64 hexadecimal digits.
    Digest = "digest", digest;
    /// A git object id: 40 hexadecimal digits (SHA-1) or 64 (SHA-256).
    CommitId = "commit", commit_id;
    /// A git branch without `refs/heads/`, by the rules of git-check-ref-format(1).
    BranchName = "branch", branch_name;
    /// The key of a machine's label or taint: `zone`, `disk`, `example.com/rack`.
    LabelKey = "label key", label_key;
    /// The value of a machine's label or taint; may be empty.
    LabelValue = "label value", label_value;
    /// A processor architecture as Linux names it (`x86_64`, `aarch64`); Docker's words for the
    /// same (`amd64`, `arm64`) are taken too.
    Architecture = "architecture", architecture;
    /// The name of a container within its pod: a DNS label of at most 30 characters. `main` is the
    /// one that runs the process type's own command.
    ContainerName = "container name", container_name;
    /// The name of a volume within its app: a DNS label of at most 63 characters.
    VolumeName = "volume name", machine_name;
    /// Where a pod sees a volume: an absolute path that hides nothing of the system.
    MountPath = "mount path", paths::mount_path;
    /// A directory of a machine, written without detours.
    HostPath = "host path", paths::host_path;
    /// A directory of a file server: `nas.example.com:/export/data`.
    NfsShare = "NFS share", paths::nfs_share;
}

impl ProcessType {
    /// The process type that gets the app's HTTP requests.
    pub fn web() -> Self {
        Self("web".into())
    }

    /// True for the type that the router sends requests to.
    pub fn is_web(&self) -> bool {
        self.0 == "web"
    }
}

/// The name of the container that runs the process type's own command.
const MAIN_CONTAINER: &str = "main";

impl ContainerName {
    /// The container that every pod has.
    pub fn main() -> Self {
        Self(MAIN_CONTAINER.into())
    }

    /// True for that one.
    pub fn is_main(&self) -> bool {
        self.0 == MAIN_CONTAINER
    }
}

fn container_name(text: &str) -> Result<String, &'static str> {
    if label_chars(text) && text.len() <= 30 {
        Ok(text.into())
    } else {
        Err(
            "it must be 1 to 30 lower-case letters, digits and dashes and neither start nor end \
             with a dash",
        )
    }
}

fn app_name(text: &str) -> Result<String, &'static str> {
    const RULE: &str = "it must be 2 to 30 lower-case letters, digits and dashes, start with a \
                        letter and not end with a dash";
    let label = label_chars(text) && text.starts_with(|c: char| c.is_ascii_lowercase());
    if label && (2..=30).contains(&text.len()) {
        Ok(text.into())
    } else {
        Err(RULE)
    }
}

/// Process types that would be taken for something else: `run.1234` is a one-off pod, `router` and
/// `platform` are sources of log lines, `release` is the release phase.
const PROCESS_TYPES_RESERVED: [&str; 4] = ["run", "router", "platform", "app"];

fn process_type(text: &str) -> Result<String, &'static str> {
    if PROCESS_TYPES_RESERVED.contains(&text) {
        return Err("the names run, router, platform and app are taken by Fairway itself");
    }
    let chars = text
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    let ends = text.starts_with(|c: char| c.is_ascii_lowercase()) && !text.ends_with('-');
    if chars && ends && text.len() <= 30 {
        Ok(text.into())
    } else {
        Err(
            "it must be 1 to 30 lower-case letters, digits and dashes, start with a letter and \
             not end with a dash",
        )
    }
}

fn hostname(text: &str) -> Result<String, &'static str> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if name.is_empty() || name.len() > 253 {
        return Err("it must have 1 to 253 characters");
    }
    if !name.is_ascii() {
        return Err("write an internationalised name in its xn-- form");
    }
    if name.starts_with("*.") {
        return Err("wildcard hostnames are not supported yet");
    }
    if name
        .split('.')
        .all(|label| label_chars(label) && label.len() <= 63)
    {
        Ok(name)
    } else {
        Err(
            "each part between the dots must be 1 to 63 letters, digits and dashes and neither \
             start nor end with a dash",
        )
    }
}

fn config_name(text: &str) -> Result<String, &'static str> {
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let rest = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if first && rest && text.len() <= 128 {
        Ok(text.into())
    } else {
        Err("it must be 1 to 128 letters, digits and underscores and not start with a digit")
    }
}

fn machine_name(text: &str) -> Result<String, &'static str> {
    if label_chars(text) && text.len() <= 63 {
        Ok(text.into())
    } else {
        Err(
            "it must be 1 to 63 lower-case letters, digits and dashes and neither start nor end \
             with a dash",
        )
    }
}

fn email(text: &str) -> Result<String, &'static str> {
    let printable = text.chars().all(|c| c.is_ascii_graphic());
    match text.split_once('@') {
        Some((local, domain))
            if printable && !local.is_empty() && text.len() <= 254 && !domain.contains('@') =>
        {
            hostname(domain)
                .map(|domain| format!("{local}@{domain}"))
                .map_err(|_| "the part after the @ must be a hostname")
        }
        _ => Err("it must look like name@example.com and have at most 254 characters"),
    }
}

fn digest(text: &str) -> Result<String, &'static str> {
    match text.strip_prefix("sha256:") {
        Some(hex) if hex.len() == 64 && lower_hex(hex) => Ok(text.into()),
        _ => Err("it must be sha256: and 64 lower-case hexadecimal digits"),
    }
}

fn commit_id(text: &str) -> Result<String, &'static str> {
    if (text.len() == 40 || text.len() == 64) && lower_hex(text) {
        Ok(text.into())
    } else {
        Err("it must be 40 or 64 lower-case hexadecimal digits")
    }
}

fn branch_name(text: &str) -> Result<String, &'static str> {
    const RULE: &str = "it must be a branch name that git accepts, of at most 200 characters";
    let forbidden = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    let parts = text
        .split('/')
        .all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"));
    let whole = text.len() <= 200
        && !text.contains(forbidden)
        && !text.contains("..")
        && !text.contains("@{")
        && !text.ends_with('.')
        && !text.starts_with('-')
        && text != "@";
    if parts && whole {
        Ok(text.into())
    } else {
        Err(RULE)
    }
}

fn label_key(text: &str) -> Result<String, &'static str> {
    let chars = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
    if chars && alphanumeric_ends(text) && (1..=63).contains(&text.len()) {
        Ok(text.into())
    } else {
        Err(
            "it must be 1 to 63 letters, digits, dashes, underscores, dots and slashes and start \
             and end with a letter or digit",
        )
    }
}

fn label_value(text: &str) -> Result<String, &'static str> {
    let chars = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if text.is_empty() || chars && alphanumeric_ends(text) && text.len() <= 63 {
        Ok(text.into())
    } else {
        Err(
            "it must be at most 63 letters, digits, dashes, underscores and dots and start and \
             end with a letter or digit",
        )
    }
}

fn alphanumeric_ends(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(ends) && text.ends_with(ends)
}

fn architecture(text: &str) -> Result<String, &'static str> {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "amd64" | "x86-64" => Ok("x86_64".into()),
        "arm64" => Ok("aarch64".into()),
        "x86_64" | "aarch64" | "riscv64" | "s390x" | "ppc64le" | "arm" | "loongarch64" => Ok(lower),
        _ => Err(
            "it must be x86_64 (amd64), aarch64 (arm64), arm, riscv64, ppc64le, s390x or \
                  loongarch64",
        ),
    }
}

fn label_chars(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn lower_hex(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests;
