//! A file that one process holds, so that two of a role never work in one directory.
//!
//! The kernel lets go of it however its holder ends. The holder's process id stands in it, for
//! whoever has to find out who is in the way.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use tokio::time::{Instant, sleep};

/// How long to wait for a holder that is just ending: its last files are written on other threads,
/// and a program that it started may hold the lock until it runs.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Why a directory could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(
        "another {role} works in {}{}; stop it first, or choose another directory",
        directory.display(),
        holder.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Held {
        role: &'static str,
        directory: PathBuf,
        /// Its process id, as far as it has written it down.
        holder: Option<u32>,
    },
    #[error("cannot use the lock file {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// A directory that belongs to this process for as long as this lives.
#[derive(Debug)]
pub struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// Takes `directory` for a `role` ("controller") by locking the file `name` in it; waits up to
    /// 2 s for whoever is just letting go of it.
    ///
    /// # Errors
    /// When it is held by somebody else, or the file cannot be used.
    pub async fn take(directory: &Path, name: &str, role: &'static str) -> Result<Self, LockError> {
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            match Self::try_take(directory, name, role) {
                Err(LockError::Held { .. }) if Instant::now() < deadline => sleep(PAUSE).await,
                taken => return taken,
            }
        }
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// As of [`Self::take`].
    pub fn try_take(directory: &Path, name: &str, role: &'static str) -> Result<Self, LockError> {
        let path = directory.join(name);
        let failed = |source| LockError::File {
            path: path.clone(),
            source,
        };
        // What stands in it is the holder's until the lock is ours.
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(LockError::Held {
                    role,
                    directory: directory.to_owned(),
                    holder: fs::read_to_string(&path)
                        .ok()
                        .and_then(|text| text.trim().parse().ok()),
                });
            }
            Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", process::id()).map_err(failed)?;
        Ok(Self { file })
    }

    /// Lets go of it, as the end of the process would.
    ///
    /// # Errors
    /// As the file system says.
    pub fn release(&self) -> io::Result<()> {
        self.file.unlock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_is_told_who_the_first_is_and_waits_for_one_that_ends() {
        let dir = std::env::temp_dir().join(format!("fairway-lock-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&dir).unwrap();
        let first = DirectoryLock::take(&dir, "lock", "agent").await.unwrap();
        let refused = DirectoryLock::try_take(&dir, "lock", "agent").unwrap_err();
        let holder = format!("(process {})", process::id());
        assert!(refused.to_string().contains(&holder), "{refused}");
        let (second, ()) = tokio::join!(DirectoryLock::take(&dir, "lock", "agent"), async {
            sleep(PAUSE).await;
            drop(first);
        });
        drop(second.unwrap());
        fs::remove_dir_all(dir).unwrap();
    }
}
