//! Mounts in the engine's words: pure.

use std::{collections::HashMap, path::Path};

use bollard::models::{Mount, MountType, MountVolumeOptions, MountVolumeOptionsDriverConfig};
use fairway_api::{ids::VolumeId, names::NfsShare};

use crate::container::LABEL_INSTANCE;

/// How the engine mounts NFS. `hard`: a server that is away for a while makes programs wait, and
/// never loses what they wrote.
const NFS_OPTIONS: &str = "nfsvers=4,hard,nosuid,nodev";

/// A directory of the machine. The engine refuses one that is not there.
pub(super) fn bind(dir: &Path, at: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(dir.to_string_lossy().into_owned()),
        target: Some(at.to_owned()),
        read_only: Some(read_only),
        ..Mount::default()
    }
}

/// A directory of a file server, mounted by the engine. Its volume object holds no data, only the
/// way there.
pub(super) fn nfs(
    instance: &str,
    volume: VolumeId,
    share: &NfsShare,
    at: &str,
    read_only: bool,
) -> Mount {
    let (server, path) = split(share.as_str());
    let options = [
        ("type", "nfs".to_owned()),
        ("o", format!("addr={server},{NFS_OPTIONS}")),
        ("device", format!(":{path}")),
    ];
    let options: HashMap<String, String> = options
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(format!("fairway-{instance}-{volume}")),
        target: Some(at.to_owned()),
        read_only: Some(read_only),
        volume_options: Some(MountVolumeOptions {
            // An image's own files are none of the server's.
            no_copy: Some(true),
            labels: Some([(LABEL_INSTANCE.to_owned(), instance.to_owned())].into()),
            driver_config: Some(MountVolumeOptionsDriverConfig {
                name: Some("local".into()),
                options: Some(options),
            }),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}

/// Server and path; the form of an IPv6 address in a share is not that of the option.
fn split(share: &str) -> (&str, &str) {
    match share
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]:"))
    {
        Some(parts) => parts,
        None => share.split_once(':').unwrap_or((share, "/")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_options_of_the_engines_local_driver() {
        for (share, o, device) in [
            (
                "nas.example.com:/export/a b",
                "addr=nas.example.com,nfsvers=4,hard,nosuid,nodev",
                ":/export/a b",
            ),
            (
                "[fd00::1]:/x",
                "addr=fd00::1,nfsvers=4,hard,nosuid,nodev",
                ":/x",
            ),
        ] {
            let volume = VolumeId::from_u128(1);
            let mount = nfs("abc", volume, &share.parse().unwrap(), "/data", true);
            assert_eq!(mount.source, Some(format!("fairway-abc-{volume}")));
            assert_eq!(
                (mount.read_only, mount.target.as_deref()),
                (Some(true), Some("/data"))
            );
            let options = mount.volume_options.unwrap();
            assert_eq!(options.no_copy, Some(true));
            let options = options.driver_config.unwrap().options.unwrap();
            assert_eq!(
                (&*options["type"], &*options["o"], &*options["device"]),
                ("nfs", o, device)
            );
        }
    }
}
