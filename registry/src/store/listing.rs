//! Lists: repositories, tags, referrers; and their pages.

use std::{fs, io, path::Path};

use crate::{
    document::Descriptor,
    error::Error,
    names::{Digest, Repository},
    store::{Store, disk},
};

/// Most entries in one answer; more are behind the `Link` header. Keeps an answer below a megabyte.
pub(crate) const PAGE_ENTRIES_MAX: usize = 1000;

/// Which part of a list is wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    /// At most so many entries.
    pub(crate) entries: Option<usize>,
    /// Only entries after this one; it need not exist.
    pub(crate) after: Option<String>,
}

/// Part of a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listing<T> {
    pub(crate) entries: Vec<T>,
    /// If the list goes on: the entry after which it does.
    pub(crate) next: Option<String>,
}

/// Cuts a page out of names in any order. The specification's order for tags ignores case; the
/// bytes decide between names that differ in nothing else.
pub(crate) fn page(mut names: Vec<String>, page: &Page) -> Listing<String> {
    let key = |name: &str| (name.to_ascii_lowercase(), name.to_owned());
    names.sort_by_cached_key(|name| key(name));
    if let Some(after) = &page.after {
        let after = key(after);
        names.drain(..names.partition_point(|name| key(name) <= after));
    }
    let entries = page
        .entries
        .unwrap_or(PAGE_ENTRIES_MAX)
        .min(PAGE_ENTRIES_MAX);
    // Nobody who asks for no entries wants to hear that there are more.
    let more = names.len() > entries && entries > 0;
    names.truncate(entries);
    let next = names.last().filter(|_| more).cloned();
    Listing {
        entries: names,
        next,
    }
}

impl Store {
    /// Repositories that have a manifest.
    pub(crate) fn catalog(&self, wanted: &Page) -> Result<Listing<String>, Error> {
        let mut names = Vec::new();
        for name in self
            .repositories()
            .map_err(Error::io("list the repositories"))?
        {
            let dir = self.manifest_links(&name);
            if !disk::names(&dir)
                .map_err(Error::io("list the repositories"))?
                .is_empty()
            {
                names.push(name.to_string());
            }
        }
        Ok(page(names, wanted))
    }

    /// Every repository that has a directory, with or without content.
    pub(crate) fn repositories(&self) -> io::Result<Vec<Repository>> {
        let mut found = Vec::new();
        walk(&self.repositories_dir(), "", &mut found)?;
        Ok(found)
    }

    /// Tags of a repository that has a manifest.
    pub(crate) fn tags(&self, name: &Repository, wanted: &Page) -> Result<Listing<String>, Error> {
        let list = |dir: &Path| disk::names(dir).map_err(Error::io("list the tags"));
        let tags = list(&self.tags_dir(name))?;
        if tags.is_empty() && list(&self.manifest_links(name))?.is_empty() {
            return Err(Error::NameUnknown {
                name: name.to_string(),
            });
        }
        Ok(page(tags, wanted))
    }

    /// Manifests that have the given one as their subject, described, of one type if wanted.
    pub(crate) fn referrers(
        &self,
        name: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
        wanted: &Page,
    ) -> Result<Listing<Descriptor>, Error> {
        let names = disk::names(&self.referrers_dir(name, subject))
            .map_err(Error::io("list the referrers"))?;
        let Listing { entries, next } = page(names, wanted);
        let mut descriptors = Vec::new();
        for hex in entries {
            let Ok(digest) = Digest::from_hex(&hex) else {
                continue;
            };
            // The link is made before the manifest is shown; who is in between is left out.
            let shown = disk::exists(&self.manifest_links(name).join(&hex))
                .map_err(Error::io("list the referrers"))?;
            if shown && let Some((document, bytes)) = self.read_document(&digest)? {
                descriptors.push(document.describe(digest, bytes.len() as u64));
            }
        }
        if let Some(wanted) = artifact_type {
            descriptors.retain(|d| d.artifact_type.as_deref() == Some(wanted));
        }
        Ok(Listing {
            entries: descriptors,
            next,
        })
    }
}

/// Collects the repositories below a directory. A repository may lie inside another: `a`, `a/b`.
fn walk(dir: &Path, prefix: &str, found: &mut Vec<Repository>) -> io::Result<()> {
    for name in disk::names(dir)? {
        let path = dir.join(&name);
        if name.starts_with('_') || !fs::metadata(&path).is_ok_and(|m| m.is_dir()) {
            continue;
        }
        let full = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}/{name}")
        };
        walk(&path, &full, found)?;
        if let Ok(repository) = full.parse() {
            found.push(repository);
        }
    }
    Ok(())
}
