//! Who runs in a container that was made, by what its image says.

use std::io::Read as _;

use bollard::query_parameters::DownloadFromContainerOptions;
use futures_util::StreamExt as _;

use super::{Engine, EngineError};
use crate::volumes::{Named, User, look_up, read_user};

/// Where an image names its users.
const PASSWD: &str = "/etc/passwd";
/// The most bytes of that file that are read, with what the engine puts around it.
const PASSWD_BYTES_MAX: usize = 1 << 20;

impl Engine {
    /// `None` if the image names a user that it does not know.
    pub(crate) async fn user_of(&self, container: &str) -> Result<Option<User>, EngineError> {
        let found = self.find(container).await?;
        let user = found
            .and_then(|found| found.config?.user)
            .unwrap_or_default();
        match read_user(&user) {
            Named::Number(user) => Ok(Some(user)),
            Named::Name { user, gid } => {
                let passwd = self.passwd(container).await?;
                Ok(look_up(&passwd, user, gid))
            }
        }
    }

    /// An image's users; empty if it names none.
    async fn passwd(&self, container: &str) -> Result<String, EngineError> {
        let options = DownloadFromContainerOptions {
            path: PASSWD.into(),
        };
        let docker = self.docker().await?;
        let pieces = docker.download_from_container(container, Some(options));
        tokio::pin!(pieces);
        let mut archive = Vec::new();
        while let Some(piece) = pieces.next().await {
            match piece.map_err(self.failed("read the image's users")) {
                Ok(piece) => archive.extend_from_slice(&piece),
                Err(error) if error.status() == Some(404) => return Ok(String::new()),
                Err(error) => return Err(error),
            }
            if archive.len() > PASSWD_BYTES_MAX {
                break;
            }
        }
        let mut archive = tar::Archive::new(&archive[..]);
        let mut text = String::new();
        if let Some(Ok(mut file)) = archive.entries().ok().and_then(|mut all| all.next()) {
            // What is no text names nobody.
            drop(file.read_to_string(&mut text));
        }
        Ok(text)
    }
}
