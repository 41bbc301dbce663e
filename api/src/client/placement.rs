//! Calls about where pods run.

use reqwest::Method;

use super::{Client, ClientError};
use crate::{
    names::{AppName, ProcessType},
    placement::{Placement, TypePlacement},
};

impl Client {
    /// Where the pods of each process type may run, and who says so.
    pub async fn placements(&self, app: &AppName) -> Result<Vec<TypePlacement>, ClientError> {
        self.get(&format!("/apps/{app}/placement")).await
    }

    /// Says where the pods of a process type may run, whatever app.json says.
    pub async fn set_placement(
        &self,
        app: &AppName,
        process_type: &ProcessType,
        placement: &Placement,
    ) -> Result<TypePlacement, ClientError> {
        let path = format!("/apps/{app}/placement/{process_type}");
        self.call(Method::PUT, &path, placement).await
    }

    /// Leaves it to app.json again.
    pub async fn unset_placement(
        &self,
        app: &AppName,
        process_type: &ProcessType,
    ) -> Result<TypePlacement, ClientError> {
        let path = format!("/apps/{app}/placement/{process_type}");
        self.call(Method::DELETE, &path, &()).await
    }
}
