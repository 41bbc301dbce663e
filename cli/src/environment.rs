//! What the process is told by its surroundings, read once.

use std::{ffi::OsString, path::PathBuf};

use fairway_api::secret::Secret;

/// The environment variables and directories that matter to a command.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    /// `FAIRWAY_URL`.
    pub(crate) url: Option<String>,
    /// `FAIRWAY_TOKEN`.
    pub(crate) token: Option<Secret>,
    /// `FAIRWAY_APP`.
    pub(crate) app: Option<String>,
    /// Where credentials are kept: `$XDG_CONFIG_HOME/fairway` or `~/.config/fairway`.
    pub(crate) settings_dir: Option<PathBuf>,
    pub(crate) home: Option<PathBuf>,
    /// `VISUAL`, else `EDITOR`.
    pub(crate) editor: Option<String>,
    /// `TERM`, for programs that run at the other end of our terminal.
    pub(crate) term: Option<String>,
    /// False with `NO_COLOR`.
    pub(crate) colour_allowed: bool,
    /// False where opening a browser would fail or surprise: no display.
    pub(crate) display: bool,
    /// `PATH`.
    pub(crate) path: Option<OsString>,
}

impl Environment {
    /// Reads the process's environment. An empty variable counts as unset.
    pub(crate) fn read() -> Self {
        let home = directory("HOME");
        let settings =
            directory("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
        Self {
            url: text("FAIRWAY_URL"),
            token: text("FAIRWAY_TOKEN").map(Secret::new),
            app: text("FAIRWAY_APP"),
            settings_dir: settings.map(|directory| directory.join("fairway")),
            home,
            editor: text("VISUAL").or_else(|| text("EDITOR")),
            term: text("TERM"),
            colour_allowed: text("NO_COLOR").is_none() && text("TERM").as_deref() != Some("dumb"),
            display: cfg!(target_os = "macos")
                || text("DISPLAY").is_some()
                || text("WAYLAND_DISPLAY").is_some(),
            path: std::env::var_os("PATH"),
        }
    }

    /// Where on the `PATH` a program is.
    pub(crate) fn finds(&self, program: &str) -> Option<PathBuf> {
        let directories = std::env::split_paths(self.path.as_deref()?);
        directories
            .map(|directory| directory.join(program))
            .find(|path| path.is_file())
    }
}

fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A directory named by a variable. The XDG rules say to ignore one that is not absolute.
fn directory(name: &str) -> Option<PathBuf> {
    std::env::var_os(name)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}
