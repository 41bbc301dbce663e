//! stub
use fairway_api::ids::BuildId;
use std::path::Path;
/// What builds print.
#[derive(Debug)]
pub struct BuildOutputs;
impl BuildOutputs {
    /// Opens.
    pub fn open(_folder: &Path) -> std::io::Result<Self> {
        Ok(Self)
    }
    /// Appends.
    pub async fn append(&self, _build: BuildId, _bytes: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
    /// Closes.
    pub fn close(&self, _build: BuildId) {}
}
