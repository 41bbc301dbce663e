//! Calls about volumes, their snapshots, and config vars that are files.

use reqwest::Method;

use super::{Client, ClientError, platform::segment};
use crate::{
    config_vars::{ConfigFile, ConfigFileChange, SetConfigFile},
    ids::SnapshotId,
    names::{AppName, ConfigName, NodeName, ProcessType},
    volumes::{MountAt, MoveVolume, NewVolume, RestoreVolume, Snapshot, Volume, VolumeChange},
};

impl Client {
    /// An app's volumes.
    pub async fn volumes(&self, app: &AppName) -> Result<Vec<Volume>, ClientError> {
        self.get(&format!("/apps/{app}/volumes")).await
    }

    /// One of them, by name or id.
    pub async fn volume(&self, app: &AppName, volume: &str) -> Result<Volume, ClientError> {
        self.get(&path(app, volume)).await
    }

    /// Makes a volume, and mounts it.
    pub async fn create_volume(
        &self,
        app: &AppName,
        new: &NewVolume,
    ) -> Result<VolumeChange, ClientError> {
        self.call(Method::POST, &format!("/apps/{app}/volumes"), new)
            .await
    }

    /// Destroys a volume and its data.
    pub async fn destroy_volume(&self, app: &AppName, volume: &str) -> Result<Volume, ClientError> {
        self.call(Method::DELETE, &path(app, volume), &()).await
    }

    /// Lets the pods of a process type have a volume.
    pub async fn mount_volume(
        &self,
        app: &AppName,
        volume: &str,
        process_type: &ProcessType,
        at: &MountAt,
    ) -> Result<VolumeChange, ClientError> {
        let path = format!("{}/mounts/{process_type}", path(app, volume));
        self.call(Method::PUT, &path, at).await
    }

    /// Ends that.
    pub async fn unmount_volume(
        &self,
        app: &AppName,
        volume: &str,
        process_type: &ProcessType,
    ) -> Result<VolumeChange, ClientError> {
        let path = format!("{}/mounts/{process_type}", path(app, volume));
        self.call(Method::DELETE, &path, &()).await
    }

    /// Snapshots of the app's volumes, newest first.
    pub async fn volume_snapshots(&self, app: &AppName) -> Result<Vec<Snapshot>, ClientError> {
        self.get(&format!("/apps/{app}/volume-snapshots")).await
    }

    /// Begins to copy a volume.
    pub async fn snapshot_volume(
        &self,
        app: &AppName,
        volume: &str,
    ) -> Result<Snapshot, ClientError> {
        let path = format!("{}/actions/snapshot", path(app, volume));
        self.call(Method::POST, &path, &()).await
    }

    /// Removes a snapshot.
    pub async fn destroy_snapshot(
        &self,
        app: &AppName,
        id: SnapshotId,
    ) -> Result<Snapshot, ClientError> {
        let path = format!("/apps/{app}/volume-snapshots/{id}");
        self.call(Method::DELETE, &path, &()).await
    }

    /// Begins to put a snapshot back.
    pub async fn restore_volume(
        &self,
        app: &AppName,
        volume: &str,
        snapshot: SnapshotId,
    ) -> Result<Volume, ClientError> {
        let path = format!("{}/actions/restore", path(app, volume));
        self.call(Method::POST, &path, &RestoreVolume { snapshot })
            .await
    }

    /// Begins to move a volume to another machine.
    pub async fn move_volume(
        &self,
        app: &AppName,
        volume: &str,
        to: &NodeName,
    ) -> Result<Volume, ClientError> {
        let path = format!("{}/actions/move", path(app, volume));
        self.call(Method::POST, &path, &MoveVolume { to: to.clone() })
            .await
    }

    /// Config vars that pods get as files.
    pub async fn config_files(&self, app: &AppName) -> Result<Vec<ConfigFile>, ClientError> {
        self.get(&format!("/apps/{app}/config-files")).await
    }

    /// Makes a config var a file, with another value if one is given.
    pub async fn set_config_file(
        &self,
        app: &AppName,
        name: &ConfigName,
        set: &SetConfigFile,
    ) -> Result<ConfigFileChange, ClientError> {
        self.call(
            Method::PUT,
            &format!("/apps/{app}/config-files/{name}"),
            set,
        )
        .await
    }

    /// Makes it an environment variable again.
    pub async fn unset_config_file(
        &self,
        app: &AppName,
        name: &ConfigName,
    ) -> Result<ConfigFileChange, ClientError> {
        let path = format!("/apps/{app}/config-files/{name}");
        self.call(Method::DELETE, &path, &()).await
    }
}

fn path(app: &AppName, volume: &str) -> String {
    format!("/apps/{app}/volumes/{}", segment(volume))
}
