//! Rules for paths of volumes.

/// The longest path, in bytes: far below what Linux allows, so that files in it have room.
const PATH_BYTES_MAX: usize = 255;

/// Directories of a container that an image or the platform needs as they are; nothing is mounted
/// on them or below those of the second list.
const NEVER_AT: [&str; 12] = [
    "/", "/bin", "/boot", "/cnb", "/etc", "/home", "/lib", "/lib64", "/run", "/sbin", "/usr",
    "/var",
];
const NEVER_BELOW: [&str; 6] = ["/dev", "/proc", "/sys", "/run/secrets", "/cnb", "/boot"];

pub(super) fn mount_path(text: &str) -> Result<String, &'static str> {
    let path = absolute(text)?;
    if NEVER_AT.contains(&path.as_str()) || NEVER_BELOW.iter().any(|dir| is_below(&path, dir)) {
        return Err(
            "that directory belongs to the system; take one of your own, such as /data or \
             /app/storage",
        );
    }
    Ok(path)
}

pub(super) fn host_path(text: &str) -> Result<String, &'static str> {
    let path = absolute(text)?;
    if path == "/" {
        return Err("the whole disk of a machine cannot be a volume; name a directory of it");
    }
    Ok(path)
}

pub(super) fn nfs_share(text: &str) -> Result<String, &'static str> {
    const RULE: &str = "write SERVER:/PATH, such as nas.example.com:/export/data";
    let (server, path) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").ok_or(RULE)?,
        None => text.split_once(':').ok_or(RULE)?,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
    let is_name = !server.is_empty()
        && server.len() <= 253
        && server.chars().all(plain)
        && server.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_address = server.parse::<std::net::Ipv6Addr>().is_ok();
    let is_named = is_name && !text.starts_with('[');
    if !is_named && !is_address {
        return Err(RULE);
    }
    // A comma would begin another mount option.
    if path.contains(',') {
        return Err("the path of an NFS share must not contain a comma");
    }
    let path = absolute(path)?;
    Ok(if is_address {
        format!("[{server}]:{path}")
    } else {
        format!("{server}:{path}")
    })
}

/// An absolute path without a final slash.
fn absolute(text: &str) -> Result<String, &'static str> {
    const RULE: &str = "it must be an absolute path of at most 255 bytes, without //, . and .., \
                        control characters or colons";
    let path = match text.strip_suffix('/') {
        Some(rest) if !rest.is_empty() => rest,
        _ => text,
    };
    let parts = path.strip_prefix('/').ok_or(RULE)?;
    let plain = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && !part.chars().any(|c| c.is_control() || c == ':')
    };
    let fits = path == "/" || parts.split('/').all(plain);
    if fits && path.len() <= PATH_BYTES_MAX {
        Ok(path.into())
    } else {
        Err(RULE)
    }
}

/// True for a directory and all in it.
fn is_below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_mounted_where_nothing_of_the_system_is() {
        for path in [
            "/data",
            "/app/storage",
            "/var/lib/postgresql/data",
            "/home/app",
            "/srv/a b",
        ] {
            assert_eq!(mount_path(path), Ok(path.into()));
        }
        assert_eq!(mount_path("/data/"), Ok("/data".into()));
        for path in [
            "",
            "data",
            "/",
            "//",
            "/etc",
            "/proc",
            "/proc/1",
            "/sys/fs",
            "/dev/shm",
            "/a/../etc",
            "/a//b",
            "/a/./b",
            "/a:b",
            "/a\nb",
            "/run/secrets",
            "/run/secrets/x",
            "/usr/",
            "/cnb/process",
        ] {
            assert!(mount_path(path).is_err(), "{path}");
        }
        assert!(mount_path(&format!("/{}", "a".repeat(255))).is_err());
        assert!(mount_path("/devices").is_ok());
    }

    #[test]
    fn shares_name_a_server_and_a_path_and_no_options() {
        for share in [
            "nas:/export",
            "10.0.0.1:/a/b",
            "[fd00::1]:/x",
            "nas.example.com:/",
        ] {
            assert_eq!(nfs_share(share), Ok(share.into()));
        }
        for share in [
            "nas",
            ":/x",
            "nas:x",
            "nas:/a,soft",
            "na s:/x",
            "-o:/x",
            "fd00::1:/x",
            "[nas]:/x",
            "nas:/a/../b",
        ] {
            assert!(nfs_share(share).is_err(), "{share}");
        }
    }
}
