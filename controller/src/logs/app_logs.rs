//! stub
use fairway_api::logs::LogLine;
use std::path::Path;
/// The apps' logs.
#[derive(Debug)]
pub struct AppLogs;
impl AppLogs {
    /// Opens.
    pub fn open(_folder: &Path) -> std::io::Result<Self> {
        Ok(Self)
    }
    /// Hands in one line; never waits.
    pub fn append_app(&self, _line: LogLine) {}
}
