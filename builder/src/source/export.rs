//! Writes a commit's tree as files, in one pass over its objects.
//!
//! The tree was made by a stranger, so nothing in it is followed: every folder is made by us and
//! must not have been there, every file is created new, and symbolic links are written but never
//! walked through. That alone keeps every write inside the folder, whatever the names say.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use fairway_api::names::CommitId;
use git2::{ObjectType, Odb, Oid, Repository};

/// The most files, folders and links of a commit. The biggest known monorepos have about half.
const ENTRIES_MAX: usize = 1_000_000;
/// The most bytes that a commit may take as files.
const TREE_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// The longest path, in bytes; Linux takes no more in one call.
const PATH_BYTES_MAX: usize = 4000;
/// How deep folders may lie in each other. Each takes stack here and in every tool that walks the
/// source; honest trees stay far below.
const DEPTH_MAX: usize = 128;
/// The longest target of a symbolic link, in bytes; as above.
const LINK_BYTES_MAX: usize = 4000;
/// Files above this are streamed by a git process, since libgit2 reads objects only whole.
const WHOLE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Characters of a commit's summary and author that go into the record.
const TEXT_CHARS_MAX: usize = 200;

/// A commit that was found and can be exported.
#[derive(Debug)]
pub(crate) struct Exported {
    /// First line of the message and author, cut to what the record takes.
    pub(crate) summary: String,
    pub(crate) author: String,
    /// Paths that stay empty, since they are repositories of their own.
    pub(crate) submodules: Vec<String>,
}

/// Why a commit cannot be exported. All but the last two are for the user to mend.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    #[error("{0} is not a commit; only commits can be deployed")]
    NotACommit(CommitId),
    #[error("the commit has a file named {0:?}, which no checkout can have; remove it")]
    BadName(String),
    #[error("the commit has two entries named {0:?}; remove one")]
    Twice(String),
    #[error("the commit has a path longer than {PATH_BYTES_MAX} bytes: {0:?}...; shorten it")]
    PathTooLong(String),
    #[error("the commit has more than {DEPTH_MAX} folders in each other; flatten it")]
    TooDeep,
    #[error("the link {0:?} has a target longer than {LINK_BYTES_MAX} bytes; remove it")]
    LinkTooLong(String),
    #[error("the commit has more than {ENTRIES_MAX} files; push a smaller tree")]
    TooMany,
    #[error(
        "the commit takes more than {} GiB as files; keep big files out of the repository",
        TREE_BYTES_MAX / (1024 * 1024 * 1024)
    )]
    TooBig,
    #[error("the disk of the builder is full; its operator has to make room")]
    DiskFull,
    #[error("cannot read {what} from the repository")]
    Read {
        what: String,
        #[source]
        source: git2::Error,
    },
    #[error("cannot write {path}")]
    Write {
        path: String,
        #[source]
        source: io::Error,
    },
}

/// Writes the tree of `commit` into the new folder `target`. Objects are also looked for in
/// `quarantine`, where git keeps those of a push that is not accepted yet. Blocks.
pub(crate) fn export(
    repository: &Path,
    quarantine: Option<&Path>,
    commit: &CommitId,
    target: &Path,
) -> Result<Exported, ExportError> {
    let unreadable = |what: &str| {
        let what = what.to_owned();
        move |source| ExportError::Read { what, source }
    };
    let opened = Repository::open_bare(repository).map_err(unreadable("settings"))?;
    let odb = opened.odb().map_err(unreadable("objects"))?;
    if let Some(quarantine) = quarantine.and_then(Path::to_str) {
        odb.add_disk_alternate(quarantine)
            .map_err(unreadable("pushed objects"))?;
    }
    let not_a_commit = |_| ExportError::NotACommit(commit.clone());
    let id = Oid::from_str(commit.as_str()).map_err(not_a_commit)?;
    let found = opened.find_commit(id).map_err(not_a_commit)?;
    let mut export = Export {
        repository,
        quarantine,
        opened: &opened,
        odb,
        depth: 0,
        entries: 0,
        bytes: 0,
        submodules: Vec::new(),
    };
    export.tree(found.tree_id(), target)?;
    let author = found.author();
    let (name, email) = (text(author.name_bytes()), text(author.email_bytes()));
    let summary = text(found.summary_bytes().unwrap_or_default());
    let author = cut(&format!("{name} <{email}>"));
    let submodules = export.submodules;
    let root = target.as_os_str().len() + 1;
    let submodules = submodules
        .iter()
        .map(|path| text(&path.as_os_str().as_bytes()[root..]));
    Ok(Exported {
        summary: cut(&summary),
        author,
        submodules: submodules.collect(),
    })
}

struct Export<'a> {
    repository: &'a Path,
    quarantine: Option<&'a Path>,
    opened: &'a Repository,
    odb: Odb<'a>,
    depth: usize,
    entries: usize,
    bytes: u64,
    submodules: Vec<PathBuf>,
}

impl Export<'_> {
    /// Writes one tree and all below it.
    fn tree(&mut self, id: Oid, folder: &Path) -> Result<(), ExportError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(ExportError::TooDeep);
        }
        fs::DirBuilder::new()
            .mode(0o755)
            .create(folder)
            .map_err(|source| failed(folder, source))?;
        let read = |source| ExportError::Read {
            what: format!("the folder {id}"),
            source,
        };
        let tree = self.opened.find_tree(id).map_err(read)?;
        for entry in tree.iter() {
            let name = entry.name_bytes();
            let path = folder.join(std::ffi::OsStr::from_bytes(name));
            self.check(name, &path)?;
            match (entry.kind(), entry.filemode_raw() & 0o170_000) {
                (Some(ObjectType::Tree), _) => self.tree(entry.id(), &path)?,
                (Some(ObjectType::Commit), _) => {
                    fs::create_dir(&path).map_err(|source| failed(&path, source))?;
                    self.submodules.push(path);
                }
                (_, 0o120_000) => self.link(entry.id(), &path)?,
                _ => self.file(entry.id(), entry.filemode_raw() & 0o100 != 0, &path)?,
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn check(&mut self, name: &[u8], path: &Path) -> Result<(), ExportError> {
        let shown = || text(name);
        if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') || name.contains(&0) {
            return Err(ExportError::BadName(shown()));
        }
        // A repository inside the tree could give a build tool settings and hooks to run.
        if name.eq_ignore_ascii_case(b".git") {
            return Err(ExportError::BadName(shown()));
        }
        if path.as_os_str().len() > PATH_BYTES_MAX {
            return Err(ExportError::PathTooLong(shown()));
        }
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            Err(ExportError::TooMany)
        } else {
            Ok(())
        }
    }

    fn file(&mut self, id: Oid, executable: bool, path: &Path) -> Result<(), ExportError> {
        let read = |source| ExportError::Read {
            what: format!("the file {id}"),
            source,
        };
        let mode = if executable { 0o755 } else { 0o644 };
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
            .map_err(|source| failed(path, source))?;
        let (size, _) = self.odb.read_header(id).map_err(read)?;
        self.bytes += size as u64;
        if self.bytes > TREE_BYTES_MAX {
            return Err(ExportError::TooBig);
        }
        if size > WHOLE_BYTES_MAX {
            self.stream(id, &file, path)?;
        } else {
            let object = self.odb.read(id).map_err(read)?;
            file.write_all(object.data())
                .map_err(|source| failed(path, source))?;
        }
        // What the process's umask took away belongs to the file: images must not depend on it.
        let permissions = fs::Permissions::from_mode(mode);
        file.set_permissions(permissions)
            .map_err(|source| failed(path, source))
    }

    fn link(&mut self, id: Oid, path: &Path) -> Result<(), ExportError> {
        let read = |source| ExportError::Read {
            what: format!("the link {id}"),
            source,
        };
        let (size, _) = self.odb.read_header(id).map_err(read)?;
        if size == 0 || size > LINK_BYTES_MAX {
            return Err(ExportError::LinkTooLong(path.display().to_string()));
        }
        let target = self.odb.read(id).map_err(read)?;
        symlink(std::ffi::OsStr::from_bytes(target.data()), path)
            .map_err(|source| failed(path, source))
    }

    /// Has git write a big file, in bounded memory.
    fn stream(&self, id: Oid, file: &File, path: &Path) -> Result<(), ExportError> {
        let to = file.try_clone().map_err(|source| failed(path, source))?;
        let mut git = Command::new("git");
        git.args(["-c", "core.bigFileThreshold=16m", "-c", "safe.directory=*"]);
        git.args(["cat-file", "blob", &id.to_string()]);
        git.env_remove("GIT_OBJECT_DIRECTORY")
            .env("GIT_DIR", self.repository);
        if let Some(quarantine) = self.quarantine {
            git.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", quarantine);
        }
        let status = git
            .stdin(Stdio::null())
            .stdout(to)
            .stderr(Stdio::null())
            .status();
        match status.map_err(|source| failed(path, source))? {
            status if status.success() => Ok(()),
            status => Err(failed(
                path,
                io::Error::other(format!("git cat-file: {status}")),
            )),
        }
    }
}

fn failed(path: &Path, source: io::Error) -> ExportError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ExportError::DiskFull,
        io::ErrorKind::AlreadyExists => {
            let name = path.file_name().unwrap_or_default();
            ExportError::Twice(text(name.as_bytes()))
        }
        _ => ExportError::Write {
            path: path.display().to_string(),
            source,
        },
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
