//! What goes when the disk is short although its app lives: dependency caches, those of the apps that
//! were built longest ago first. Their next build takes longer, and nothing else is lost.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use fairway_api::{disk::DiskReserve, ids::AppId};
use tokio::time::sleep;

use crate::build::BuildTools;

/// How often it is looked, in seconds.
const EVERY_SECS: u64 = 60;
/// Caches go when less than so many reserves are free, as images do on machines ...
const SHORT_RESERVES: u64 = 3;
/// ... and until so many are.
const ENOUGH_RESERVES: u64 = 4;
/// How the names of caches begin that are on their way out: no app's name does.
const GOING: &str = ".going-";

/// Looks for ever.
pub(super) async fn watch(tools: Arc<BuildTools>, reserve: DiskReserve) {
    loop {
        let tools = Arc::clone(&tools);
        let looked = super::blocking(move || look(&tools, reserve)).await;
        if let Err(error) = looked {
            tracing::warn!("cannot remove caches from a disk that is short: {error}");
        }
        sleep(Duration::from_secs(EVERY_SECS)).await;
    }
}

fn look(tools: &BuildTools, reserve: DiskReserve) -> io::Result<()> {
    let dir = tools.caches_dir();
    remove_going(&dir)?;
    if !reserve.is_on() || !has_less(&dir, reserve, SHORT_RESERVES) {
        return Ok(());
    }
    let mut caches = Vec::new();
    for app in tools.caches()? {
        caches.push((app, built_at(&tools.cache_dir(app))));
    }
    let short = || has_less(&dir, reserve, ENOUGH_RESERVES);
    relieve(caches, short, |app| take_out(tools, &dir, app))
}

/// Removes caches while the disk is short. `remove` leaves what is in use.
fn relieve(
    mut caches: Vec<(AppId, SystemTime)>,
    short: impl Fn() -> bool,
    mut remove: impl FnMut(AppId) -> io::Result<()>,
) -> io::Result<()> {
    caches.sort_by_key(|(app, built_at)| (*built_at, *app));
    for (app, _) in caches {
        if !short() {
            break;
        }
        remove(app)?;
    }
    Ok(())
}

/// Removes one app's cache, unless a build of it runs. Moved away first: a build that begins then
/// finds none, and not half of one.
fn take_out(tools: &BuildTools, dir: &Path, app: AppId) -> io::Result<()> {
    let going: PathBuf = dir.join(format!("{GOING}{app}"));
    let from = tools.cache_dir(app);
    let moved = tools
        .under_way()
        .while_idle(app, || fs::rename(from, &going));
    match moved {
        None => Ok(()),
        Some(moved) => {
            moved?;
            tracing::info!(%app, "removed a build cache: the disk is short");
            fs::remove_dir_all(going)
        }
    }
}

/// What a crash left half-removed.
fn remove_going(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(GOING) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// When a build last wrote down what it keeps.
fn built_at(cache: &Path) -> SystemTime {
    let record = fs::metadata(cache.join("cache.json")).and_then(|it| it.modified());
    record.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn has_less(dir: &Path, reserve: DiskReserve, reserves: u64) -> bool {
    rustix::fs::statvfs(dir).is_ok_and(|seen| {
        let total = seen.f_blocks * seen.f_frsize;
        seen.f_bavail * seen.f_frsize < reserve.of(total).saturating_mul(reserves)
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_oldest_go_until_there_is_enough() {
        let at = |secs| SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
        let app = AppId::from_u128;
        let caches = vec![(app(1), at(30)), (app(2), at(10)), (app(3), at(20))];
        let free = Cell::new(2);
        let mut gone = Vec::new();
        let remove = |app| {
            gone.push(app);
            free.set(free.get() + 1);
            Ok(())
        };
        relieve(caches, || free.get() < 4, remove).unwrap();
        assert_eq!(gone, [app(2), app(3)]);
    }

    #[test]
    fn what_a_crash_left_goes_and_caches_stay() {
        let dir = tempfile::tempdir().unwrap();
        let app = AppId::from_u128(1).to_string();
        for name in [app.clone(), format!("{GOING}{app}")] {
            fs::create_dir_all(dir.path().join(name).join("layers")).unwrap();
        }
        remove_going(dir.path()).unwrap();
        let left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(left, [app]);
        remove_going(&dir.path().join("missing")).unwrap();
        let all = DiskReserve::Bytes(u64::MAX);
        assert!(has_less(dir.path(), all, 3));
        assert!(!has_less(dir.path(), DiskReserve::Bytes(1), 3));
    }
}
