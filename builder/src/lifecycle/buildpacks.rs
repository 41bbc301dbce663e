//! The buildpacks that are there, and the groups that are tried, with composite ones taken apart.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use super::spec::{
    API_NEWEST, API_OLDEST, BuilderToml, BuildpackToml, GroupMember, OrderGroup, api_version,
};

/// Where the buildpacks are mounted in a build container.
pub(crate) const MOUNTED_AT: &str = "/cnb/buildpacks";
/// The most groups that an order may come to when composite buildpacks are taken apart.
const GROUPS_MAX: usize = 256;
/// How deep composite buildpacks may be nested. More is a circle.
const NESTED_MAX: usize = 8;

/// A buildpack that can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Buildpack {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) name: String,
    pub(crate) homepage: String,
    pub(crate) api: String,
    pub(crate) clear_env: bool,
    /// Its folder in the build container.
    pub(crate) dir: String,
}

impl Buildpack {
    /// Its id as the name of a folder: `fairway/python` is `fairway_python`.
    pub(crate) fn folder(&self) -> String {
        self.id.replace('/', "_")
    }

    /// True when its processes never run through a shell of ours.
    pub(crate) fn always_direct(&self) -> bool {
        api_version(&self.api).is_some_and(|api| api >= (0, 9))
    }
}

/// Buildpacks that are tried together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) members: Vec<(Buildpack, Optional)>,
}

/// True for a buildpack whose group can do without it.
pub(crate) type Optional = bool;

/// Reads `builder.toml` and the buildpacks beside it.
pub(crate) fn read(dir: &Path) -> anyhow::Result<Vec<Group>> {
    let path = dir.join("builder.toml");
    let builder: BuilderToml = read_toml(&path)?;
    let store = store(dir)?;
    let mut groups = Vec::new();
    for group in &builder.order {
        for members in take_apart(&group.group, &store, 0)? {
            groups.push(Group { members });
        }
    }
    if groups.is_empty() {
        bail!("{} names no group of buildpacks", path.display());
    }
    Ok(groups)
}

fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("read {}", path.display()))
}

/// All buildpacks in the folder, by id. A buildpack is a folder with a `buildpack.toml`, one or two
/// levels down (`python/`, or `heroku_python/1.2.3/`).
fn store(dir: &Path) -> anyhow::Result<BTreeMap<String, Vec<Stored>>> {
    let mut store: BTreeMap<String, Vec<Stored>> = BTreeMap::new();
    for first in folders(dir)? {
        let mut found = vec![first.clone()];
        if !first.join("buildpack.toml").exists() {
            found = folders(&first)?;
        }
        for folder in found
            .into_iter()
            .filter(|folder| folder.join("buildpack.toml").exists())
        {
            let toml: BuildpackToml = read_toml(&folder.join("buildpack.toml"))?;
            check_api(&toml, &folder)?;
            let inside = folder
                .strip_prefix(dir)
                .context("a folder is below its parent")?;
            let mounted = format!("{MOUNTED_AT}/{}", inside.display());
            store
                .entry(toml.buildpack.id.clone())
                .or_default()
                .push(Stored { toml, mounted });
        }
    }
    Ok(store)
}

#[derive(Debug, Clone)]
struct Stored {
    toml: BuildpackToml,
    mounted: String,
}

fn folders(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry
            .with_context(|| format!("read {}", dir.display()))?
            .path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

fn check_api(toml: &BuildpackToml, folder: &Path) -> anyhow::Result<()> {
    match api_version(&toml.api) {
        Some(api) if (API_OLDEST..=API_NEWEST).contains(&api) => Ok(()),
        _ => bail!(
            "the buildpack in {} is made for buildpack API {:?}; this builder has 0.8 to 0.12",
            folder.display(),
            toml.api
        ),
    }
}

/// The groups that a list of members stands for: a composite buildpack stands for each of its own.
fn take_apart(
    members: &[GroupMember],
    store: &BTreeMap<String, Vec<Stored>>,
    depth: usize,
) -> anyhow::Result<Vec<Vec<(Buildpack, Optional)>>> {
    if depth > NESTED_MAX {
        bail!("composite buildpacks are nested more than {NESTED_MAX} deep");
    }
    let mut groups: Vec<Vec<(Buildpack, Optional)>> = vec![Vec::new()];
    for member in members {
        let stored = find(member, store)?;
        let mut choices = Vec::new();
        if stored.toml.order.is_empty() {
            choices.push(vec![(buildpack(stored), member.optional)]);
        }
        for OrderGroup { group } in &stored.toml.order {
            choices.extend(take_apart(group, store, depth + 1)?);
        }
        if !stored.toml.order.is_empty() && member.optional {
            choices.push(Vec::new());
        }
        groups = groups
            .iter()
            .flat_map(|before| {
                choices
                    .iter()
                    .map(move |next| [&before[..], &next[..]].concat())
            })
            .collect();
        if groups.len() > GROUPS_MAX {
            bail!("the order comes to more than {GROUPS_MAX} groups of buildpacks");
        }
    }
    Ok(groups)
}

fn find<'a>(
    member: &GroupMember,
    store: &'a BTreeMap<String, Vec<Stored>>,
) -> anyhow::Result<&'a Stored> {
    let versions = store.get(&member.id).map(Vec::as_slice).unwrap_or_default();
    let fits = |stored: &&Stored| {
        member
            .version
            .as_ref()
            .is_none_or(|version| *version == stored.toml.buildpack.version)
    };
    let wanted = member
        .version
        .as_deref()
        .map(|v| format!(" {v}"))
        .unwrap_or_default();
    versions.iter().rfind(fits).with_context(|| {
        format!(
            "builder.toml names {}{wanted}, which is not there",
            member.id
        )
    })
}

fn buildpack(stored: &Stored) -> Buildpack {
    let info = &stored.toml.buildpack;
    Buildpack {
        id: info.id.clone(),
        version: info.version.clone(),
        name: info.name.clone().unwrap_or_else(|| info.id.clone()),
        homepage: info.homepage.clone().unwrap_or_default(),
        api: stored.toml.api.clone(),
        clear_env: info.clear_env,
        dir: stored.mounted.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, path: &str, text: &str) {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn plain(dir: &Path, id: &str) {
        let text = format!("api = \"0.10\"\n[buildpack]\nid = \"x/{id}\"\nversion = \"1\"\n");
        write(dir, &format!("{id}/buildpack.toml"), &text);
    }

    fn ids(groups: &[Group]) -> Vec<String> {
        let group = |group: &Group| {
            group
                .members
                .iter()
                .map(|(b, _)| &b.id[2..])
                .collect::<Vec<_>>()
                .join(" ")
        };
        groups.iter().map(group).collect()
    }

    #[test]
    fn composite_buildpacks_stand_for_their_groups() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        for id in ["a", "b", "c"] {
            plain(dir, id);
        }
        let both = "api = \"0.10\"\n[buildpack]\nid = \"x/both\"\nversion = \"1\"\n\
                    [[order]]\ngroup = [{id = \"x/a\"}, {id = \"x/b\", optional = true}]\n\
                    [[order]]\ngroup = [{id = \"x/b\"}]\n";
        write(dir, "both/1/buildpack.toml", both);
        let order = "[[order]]\ngroup = [{id = \"x/both\"}, {id = \"x/c\"}]\n[[order]]\ngroup = [{id = \"x/c\", version = \"1\"}]";
        write(dir, "builder.toml", order);
        let groups = read(dir).unwrap();
        assert_eq!(ids(&groups), ["a b c", "b c", "c"]);
        assert_eq!(groups[0].members[0].0.dir, "/cnb/buildpacks/a");
        assert!(groups[0].members[1].1);
    }

    #[test]
    fn mistakes_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let refused = |want: &str| {
            let error = format!("{:#}", read(dir).unwrap_err());
            assert!(error.contains(want), "{error:?} does not say {want:?}");
        };
        refused("builder.toml");
        write(
            dir,
            "builder.toml",
            "[[order]]\ngroup = [{id = \"x/a\", version = \"2\"}]",
        );
        refused("x/a 2, which is not there");
        plain(dir, "a");
        refused("x/a 2, which is not there");
        write(dir, "builder.toml", "[[order]]\ngroup = [{id = \"x/a\"}]");
        assert_eq!(ids(&read(dir).unwrap()), ["a"]);
        write(
            dir,
            "a/buildpack.toml",
            "api = \"0.4\"\n[buildpack]\nid = \"x/a\"\nversion = \"1\"",
        );
        refused("buildpack API \"0.4\"");
        let circle = "api = \"0.10\"\n[buildpack]\nid = \"x/a\"\nversion = \"1\"\n[[order]]\ngroup = [{id = \"x/a\"}]";
        write(dir, "a/buildpack.toml", circle);
        refused("nested more than");
    }
}
