//! Calls about autoscaling, what it goes by, and what apps have switched on.

use reqwest::Method;

use super::{Client, ClientError, platform::segment};
use crate::{
    autoscale::{Autoscale, Autoscaling},
    features::{Feature, FeaturePatch},
    metrics::TypeMetrics,
    names::{AppName, ProcessType},
};

impl Client {
    /// What is autoscaled, and what it led to.
    pub async fn autoscaling(&self, app: &AppName) -> Result<Vec<Autoscaling>, ClientError> {
        self.get(&format!("/apps/{app}/autoscale")).await
    }

    /// Lets the count of a process type follow what is measured.
    pub async fn set_autoscaling(
        &self,
        app: &AppName,
        process_type: &ProcessType,
        policy: &Autoscale,
    ) -> Result<Autoscaling, ClientError> {
        let path = format!("/apps/{app}/autoscale/{process_type}");
        self.call(Method::PUT, &path, policy).await
    }

    /// Ends that; the count stays.
    pub async fn end_autoscaling(
        &self,
        app: &AppName,
        process_type: &ProcessType,
    ) -> Result<Autoscaling, ClientError> {
        let path = format!("/apps/{app}/autoscale/{process_type}");
        self.call(Method::DELETE, &path, &()).await
    }

    /// What can be switched on for an app.
    pub async fn features(&self, app: &AppName) -> Result<Vec<Feature>, ClientError> {
        self.get(&format!("/apps/{app}/features")).await
    }

    /// Switches it on or off.
    pub async fn set_feature(
        &self,
        app: &AppName,
        feature: &str,
        enabled: bool,
    ) -> Result<Feature, ClientError> {
        let path = format!("/apps/{app}/features/{}", segment(feature));
        self.call(Method::PATCH, &path, &FeaturePatch { enabled })
            .await
    }

    /// What pods use and how requests go.
    pub async fn metrics(&self, app: &AppName) -> Result<Vec<TypeMetrics>, ClientError> {
        self.get(&format!("/apps/{app}/metrics")).await
    }
}
