//! What the stack's images consist of: a list of Debian packages and what is done with them.
//!
//! Pure: a recipe is data, its key is the digest of all that has an influence on the result, and
//! the arguments of mmdebstrap follow from it. Equal recipes share one cached result.

use crate::lifecycle::digest;

/// Raised when the way of making a stack changes in a manner that the recipe's text does not show.
const FORMAT: u32 = 1;
/// The moment that all files newer than it are dated back to, so that two machines make the same
/// image: 2023-06-10, the release of Debian 12, in seconds since 1970.
const DATED_BACK_TO_SECS: u64 = 1_686_355_200;
/// In both images. `usr-is-merged` stands in for usrmerge, which would bring all of perl.
/// libatomic is for Node.js, libpq for what was compiled against it in the build image.
const RUN_PACKAGES: [&str; 8] = [
    "ca-certificates",
    "libatomic1",
    "libpq5",
    "netbase",
    "nginx",
    "python3",
    "tzdata",
    "usr-is-merged",
];
/// In the build image besides: what compiles the native parts of Python and Node.js packages.
const BUILD_PACKAGES: [&str; 13] = [
    "build-essential",
    "curl",
    "git",
    "libffi-dev",
    "libpq-dev",
    "libssl-dev",
    "pkg-config",
    "python3-dev",
    "python3-pip",
    "python3-venv",
    "unzip",
    "xz-utils",
    "zlib1g-dev",
];
/// User and group that builds and apps run as.
pub(crate) const USER_ID: u32 = 1000;

/// Which of the two images of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// What apps run on.
    Run,
    /// What buildpacks run in.
    Build,
}

impl Role {
    /// `run` or `build`: part of file, repository and image names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Build => "build",
        }
    }

    /// The repository in the registry, and the image's name in the engine.
    pub(crate) fn repository(self) -> &'static str {
        match self {
            Self::Run => "fairway/run",
            Self::Build => "fairway/build",
        }
    }
}

/// How to make one image of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recipe {
    pub(crate) role: Role,
    /// Debian's name of the release: `bookworm`.
    pub(crate) suite: String,
    /// Where the packages come from; `None` takes Debian's own servers, with security updates.
    pub(crate) mirror: Option<String>,
}

impl Recipe {
    /// Names the result: equal for equal results, apart from updates of packages.
    pub(crate) fn key(&self) -> String {
        let text = format!("{FORMAT}\n{}\n{:?}", self.arguments().join("\n"), self.role);
        digest::of_bytes(text.as_bytes()).as_str()["sha256:".len()..][..16].to_owned()
    }

    /// The `io.buildpacks.stack.id` of images made from it.
    pub(crate) fn stack_id(&self) -> String {
        format!("dev.fairway.stacks.{}", self.suite)
    }

    /// The environment for mmdebstrap.
    pub(crate) fn source_date_epoch() -> String {
        DATED_BACK_TO_SECS.to_string()
    }

    /// The arguments for mmdebstrap, which writes the tar of the root file system to its output.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut packages = RUN_PACKAGES.to_vec();
        if self.role == Role::Build {
            packages.extend(BUILD_PACKAGES);
        }
        let mut arguments = vec![
            "--variant=minbase".to_owned(),
            "--format=tar".to_owned(),
            format!("--include={}", packages.join(",")),
            "--aptopt=Acquire::Languages \"none\"".to_owned(),
            "--aptopt=APT::Install-Recommends \"false\"".to_owned(),
        ];
        for path in [
            "/usr/share/man/*",
            "/usr/share/doc/*",
            "/usr/share/info/*",
            "/usr/share/locale/*",
        ] {
            arguments.push(format!("--dpkgopt=path-exclude={path}"));
        }
        // Licences have to come along.
        arguments.push("--dpkgopt=path-include=/usr/share/doc/*/copyright".to_owned());
        for hook in hooks(self.role) {
            arguments.push(format!("--customize-hook={hook}"));
        }
        arguments.push(self.suite.clone());
        arguments.push("-".to_owned());
        arguments.extend(self.mirror.clone());
        arguments
    }
}

/// Shell commands that finish the root file system, which is `$1`.
fn hooks(role: Role) -> Vec<String> {
    let id = USER_ID;
    let mut hooks = vec![
        format!("chroot \"$1\" groupadd --gid {id} cnb"),
        format!("chroot \"$1\" useradd --uid {id} --gid {id} --create-home --shell /bin/bash cnb"),
        "mkdir -p \"$1/workspace\" \"$1/layers\" \"$1/platform\" \"$1/cnb\"".to_owned(),
        format!("chown {id}:{id} \"$1/workspace\" \"$1/layers\""),
        // Modules compiled by their content start faster, and do not depend on file times.
        "chroot \"$1\" python3 -m compileall -q -f --invalidation-mode unchecked-hash \
         /usr/lib/python3 /usr/lib/python3.11 >/dev/null || true"
            .to_owned(),
        "rm -rf \"$1/var/log\"/*.log \"$1/var/log/apt\" \"$1/var/cache/ldconfig/aux-cache\" \
         \"$1/var/www\" \"$1/etc/hostname\" \"$1/etc/resolv.conf\" \"$1\"/var/cache/debconf/*-old"
            .to_owned(),
    ];
    if role == Role::Run {
        // A run image needs no package lists; whoever installs more runs apt-get update first.
        hooks.push("rm -rf \"$1\"/var/lib/apt/lists/*".to_owned());
    }
    hooks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(role: Role, mirror: Option<&str>) -> Recipe {
        Recipe {
            role,
            suite: "bookworm".into(),
            mirror: mirror.map(Into::into),
        }
    }

    #[test]
    fn a_key_names_what_the_image_is_made_of() {
        let run = recipe(Role::Run, None);
        assert_eq!(run.key(), recipe(Role::Run, None).key());
        assert_ne!(run.key(), recipe(Role::Build, None).key());
        assert_ne!(
            run.key(),
            recipe(Role::Run, Some("http://mirror/debian")).key()
        );
        assert_eq!(run.key().len(), 16);
    }

    #[test]
    fn the_mirror_comes_last_and_the_output_is_a_stream() {
        let arguments = recipe(Role::Build, Some("http://mirror/debian")).arguments();
        assert_eq!(
            arguments[arguments.len() - 3..],
            ["bookworm", "-", "http://mirror/debian"]
        );
        let included = arguments
            .iter()
            .find(|a| a.starts_with("--include="))
            .unwrap();
        assert!(included.contains("python3-venv") && included.contains("nginx"));
    }
}
