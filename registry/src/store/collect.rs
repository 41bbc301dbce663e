//! The collector: finds what nothing refers to any more, and removes it.
//!
//! Marks and sweeps while clients push. What makes that safe is age: whoever is about to rely on a
//! file (a push, a mount, a `HEAD`, a manifest that refers to it) makes it young first, and the
//! collector removes a file only if it is old at that moment, under the lock that orders the two.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, ErrorKind},
    path::Path,
    time::{Duration, SystemTime},
};

use tracing::warn;

use crate::{
    document::Document,
    error::Error,
    names::{Digest, Repository},
    store::{Store, disk},
};

/// The longest time between the moment that a blob's content is in place and the moment that a
/// repository shows it: two steps of one request. Content that nobody shows goes after it, however
/// long pushes take, since what a push has sent is shown from then on.
const CONTENT_AGE_MIN: Duration = Duration::from_secs(10 * 60);

/// Which manifests of a repository are kept beside those that a kept list, subject or tag leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// All of them: only content that no manifest refers to goes.
    EveryManifest,
    /// The tagged ones and these: the others go.
    TaggedAnd(BTreeSet<Digest>),
    /// None, and no tag or blob either, however young: the repository is given up.
    Nothing,
}

/// What to collect.
#[derive(Debug, Clone)]
pub struct Collect {
    /// What is kept of each repository; [`Keep::EveryManifest`] of one that is not named.
    pub keep: BTreeMap<Repository, Keep>,
    /// No manifest and no blob of a repository that was pushed, mounted or looked at within this
    /// time is removed, unless the repository is given up. It has to be longer than any push takes
    /// from its first blob to its manifest: an hour is a good value. What no repository shows any
    /// more goes after ten minutes, if that is shorter.
    pub age_min: Duration,
    /// Only say what would go.
    pub dry_run: bool,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Manifests, each with the repository that showed it.
    pub manifests: Vec<(Repository, Digest)>,
    /// Blobs, each with the repository that showed it.
    pub blobs: Vec<(Repository, Digest)>,
    /// Contents that no repository shows any more.
    pub contents: Vec<Digest>,
    /// Bytes that those contents take on the disk.
    pub bytes: u64,
}

/// One pass over the store.
struct Pass<'a> {
    store: &'a Store,
    what: &'a Collect,
    now: SystemTime,
    /// Content that some repository goes on to show.
    live: BTreeSet<Digest>,
    collected: Collected,
}

impl Store {
    /// Removes what nothing refers to. `now` is the time that ages are counted to.
    pub(crate) fn collect(&self, what: &Collect, now: SystemTime) -> Result<Collected, Error> {
        let live = BTreeSet::new();
        let mut pass = Pass {
            store: self,
            what,
            now,
            live,
            collected: Collected::default(),
        };
        for name in self
            .repositories()
            .map_err(Error::io("list the repositories"))?
        {
            pass.repository(&name)?;
        }
        pass.contents().map_err(Error::io("collect contents"))?;
        Ok(pass.collected)
    }

    /// Removes the directories of a repository that are empty.
    fn prune(&self, name: &Repository) -> io::Result<()> {
        let _guard = self.remove_files();
        let dir = self.repositories_dir().join(name.as_str());
        for subject in disk::names(&dir.join("_referrers"))? {
            remove_if_empty(&dir.join("_referrers").join(subject))?;
        }
        for part in ["_referrers", "_tags", "_manifests", "_blobs"] {
            remove_if_empty(&dir.join(part))?;
        }
        // Up to, but not with, the directory of all repositories.
        for dir in dir
            .ancestors()
            .take_while(|dir| *dir != self.repositories_dir())
        {
            remove_if_empty(dir)?;
        }
        Ok(())
    }
}

impl Pass<'_> {
    fn keep(&self, name: &Repository) -> &Keep {
        self.what.keep.get(name).unwrap_or(&Keep::EveryManifest)
    }

    fn repository(&mut self, name: &Repository) -> Result<(), Error> {
        if *self.keep(name) == Keep::Nothing {
            return self.give_up(name).map_err(Error::io("remove a repository"));
        }
        let links = self.store.manifest_links(name);
        let present = digests(&links).map_err(Error::io("list the manifests"))?;
        let Some(documents) = self.documents(name, &present)? else {
            self.live.extend(present);
            let blobs =
                digests(&self.store.blob_links(name)).map_err(Error::io("list the blobs"))?;
            self.live.extend(blobs);
            return Ok(());
        };
        let roots = self
            .roots(name, &present)
            .map_err(Error::io("find what is in use"))?;
        let (kept, blobs) = mark(&documents, roots);
        self.live.extend(&kept);
        for digest in present.difference(&kept) {
            let subject = documents.get(digest).and_then(|document| document.subject);
            self.manifest(name, digest, subject)
                .map_err(Error::io("collect a manifest"))?;
        }
        self.blobs(name, &blobs)
            .map_err(Error::io("collect a blob"))?;
        if !self.what.dry_run {
            self.store
                .prune(name)
                .map_err(Error::io("remove empty directories"))?;
        }
        Ok(())
    }

    /// Reads every manifest of a repository. One whose content is missing refers to nothing. `None`
    /// if one is damaged: nobody knows what it refers to, so that nothing may go.
    fn documents(
        &self,
        name: &Repository,
        present: &BTreeSet<Digest>,
    ) -> Result<Option<BTreeMap<Digest, Document>>, Error> {
        let mut documents = BTreeMap::new();
        for digest in present {
            match self.store.read_document(digest) {
                Ok(Some((document, _))) => drop(documents.insert(*digest, document)),
                Ok(None) => {}
                Err(Error::Io { source, .. }) if source.kind() == ErrorKind::InvalidData => {
                    warn!(
                        repository = %name, %digest,
                        "a manifest is damaged, its repository is not collected; delete it or push \
                         it again: {source}"
                    );
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(documents))
    }

    fn roots(&self, name: &Repository, present: &BTreeSet<Digest>) -> io::Result<BTreeSet<Digest>> {
        let Keep::TaggedAnd(listed) = self.keep(name) else {
            return Ok(present.clone());
        };
        let tags = self.store.tags_with_targets(name)?;
        let mut roots: BTreeSet<Digest> = tags.into_iter().map(|(_, target)| target).collect();
        roots.extend(listed);
        for digest in present {
            let link = self.store.manifest_links(name).join(digest.hex());
            if self.is_young(&link, self.what.age_min)? {
                roots.insert(*digest);
            }
        }
        Ok(roots)
    }

    /// Removes all that a repository shows. Its manifests go before what they refer to, so that a
    /// client never finds half an image.
    fn give_up(&mut self, name: &Repository) -> io::Result<()> {
        let manifests = self.store.manifest_links(name);
        for digest in digests(&manifests)? {
            if !self.what.dry_run {
                let _guard = self.store.remove_files();
                self.store.remove_tags_of(name, &digest)?;
                disk::remove(&manifests.join(digest.hex()))?;
            }
            self.collected.manifests.push((name.clone(), digest));
        }
        for digest in digests(&self.store.blob_links(name))? {
            if !self.what.dry_run {
                disk::remove(&self.store.blob_links(name).join(digest.hex()))?;
            }
            self.collected.blobs.push((name.clone(), digest));
        }
        if self.what.dry_run {
            return Ok(());
        }
        let referrers = self
            .store
            .repositories_dir()
            .join(name.as_str())
            .join("_referrers");
        for subject in disk::names(&referrers)? {
            for about in disk::names(&referrers.join(&subject))? {
                disk::remove(&referrers.join(&subject).join(about))?;
            }
        }
        self.store.prune(name)
    }

    /// Removes a manifest, unless somebody wanted it meanwhile.
    fn manifest(
        &mut self,
        name: &Repository,
        digest: &Digest,
        subject: Option<Digest>,
    ) -> io::Result<()> {
        let link = self.store.manifest_links(name).join(digest.hex());
        if self.take(&link, self.what.age_min)? {
            if let (Some(subject), false) = (subject, self.what.dry_run) {
                disk::remove(&self.store.referrers_dir(name, &subject).join(digest.hex()))?;
            }
            self.collected.manifests.push((name.clone(), *digest));
        } else {
            self.live.insert(*digest);
        }
        Ok(())
    }

    /// Removes the blobs of a repository that its manifests do not need.
    fn blobs(&mut self, name: &Repository, needed: &BTreeSet<Digest>) -> io::Result<()> {
        let links = self.store.blob_links(name);
        for digest in digests(&links)? {
            if !needed.contains(&digest)
                && self.take(&links.join(digest.hex()), self.what.age_min)?
            {
                self.collected.blobs.push((name.clone(), digest));
            } else {
                self.live.insert(digest);
            }
        }
        Ok(())
    }

    /// Removes the contents that no repository shows.
    fn contents(&mut self) -> io::Result<()> {
        for digest in digests(&self.store.blobs_dir())? {
            let path = self.store.content(&digest);
            if self.live.contains(&digest) {
                continue;
            }
            let Some(bytes) = fs::metadata(&path).ok().map(|metadata| metadata.len()) else {
                continue;
            };
            let age_min = self.what.age_min.min(CONTENT_AGE_MIN);
            if self.take(&path, age_min)? {
                self.collected.contents.push(digest);
                self.collected.bytes += bytes;
            }
        }
        Ok(())
    }

    /// Removes a file if it is old; says whether it was.
    fn take(&self, path: &Path, age_min: Duration) -> io::Result<bool> {
        let _guard = self.store.remove_files();
        if self.is_young(path, age_min)? {
            return Ok(false);
        }
        if !self.what.dry_run {
            disk::remove(path)?;
        }
        Ok(true)
    }

    fn is_young(&self, path: &Path, age_min: Duration) -> io::Result<bool> {
        match fs::symlink_metadata(path).and_then(|metadata| metadata.modified()) {
            // A clock that was set back makes a file young, never old.
            Ok(touched) => Ok(self.now.duration_since(touched).unwrap_or_default() < age_min),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Everything that the roots lead to: manifests, and blobs. A list leads to its entries, and a
/// subject to the manifests about it.
fn mark(
    documents: &BTreeMap<Digest, Document>,
    roots: BTreeSet<Digest>,
) -> (BTreeSet<Digest>, BTreeSet<Digest>) {
    let mut about: BTreeMap<Digest, Vec<Digest>> = BTreeMap::new();
    for (digest, document) in documents {
        if let Some(subject) = document.subject {
            about.entry(subject).or_default().push(*digest);
        }
    }
    let mut kept = BTreeSet::new();
    let mut blobs = BTreeSet::new();
    let mut open: Vec<Digest> = roots.into_iter().collect();
    while let Some(digest) = open.pop() {
        if !kept.insert(digest) {
            continue;
        }
        open.extend(about.get(&digest).into_iter().flatten());
        if let Some(document) = documents.get(&digest) {
            blobs.extend(document.blobs.iter().map(|link| link.digest));
            for link in &document.entries {
                // Build caches list blobs where images list manifests.
                blobs.insert(link.digest);
                open.push(link.digest);
            }
        }
    }
    (kept, blobs)
}

/// The digests that a directory's files are named after.
fn digests(dir: &Path) -> io::Result<BTreeSet<Digest>> {
    Ok(disk::names(dir)?
        .iter()
        .filter_map(|name| Digest::from_hex(name).ok())
        .collect())
}

fn remove_if_empty(dir: &Path) -> io::Result<()> {
    match fs::remove_dir(dir) {
        Err(error)
            if !matches!(
                error.kind(),
                ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound
            ) =>
        {
            Err(error)
        }
        _ => Ok(()),
    }
}
