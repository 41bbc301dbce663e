//! The apps that are being built, so that nobody takes their cache away.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fairway_api::ids::AppId;

/// Builds that run. A leaf; its lock is held for moments only.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnderWay(Arc<Mutex<Vec<AppId>>>);

/// A build that runs. It ends with its drop.
#[derive(Debug)]
pub(crate) struct OneBuild {
    app: AppId,
    all: UnderWay,
}

impl UnderWay {
    /// A build begins.
    pub(crate) fn begin(&self, app: AppId) -> OneBuild {
        self.apps().push(app);
        let all = self.clone();
        OneBuild { app, all }
    }

    /// Does something short while no build of the app can begin; `None` if one runs.
    pub(crate) fn while_idle<T>(&self, app: AppId, work: impl FnOnce() -> T) -> Option<T> {
        let apps = self.apps();
        (!apps.contains(&app)).then(work)
    }

    /// True while a build of the app runs.
    pub(crate) fn has(&self, app: AppId) -> bool {
        self.apps().contains(&app)
    }

    fn apps(&self) -> MutexGuard<'_, Vec<AppId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OneBuild {
    fn drop(&mut self) {
        let mut apps = self.all.apps();
        if let Some(at) = apps.iter().position(|app| *app == self.app) {
            apps.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_is_under_way_until_its_last_build_has_ended() {
        let (all, app) = (UnderWay::default(), AppId::from_u128(1));
        let first = all.begin(app);
        let second = all.begin(app);
        drop(first);
        assert!(all.has(app) && !all.has(AppId::from_u128(2)));
        assert_eq!(all.while_idle(app, || 1), None);
        drop(second);
        assert!(!all.has(app));
        assert_eq!(all.while_idle(app, || 1), Some(1));
    }
}
