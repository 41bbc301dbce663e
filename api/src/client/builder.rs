//! Calls of a builder: the git receiver and the build worker.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use reqwest::Method;

use super::{Client, ClientError};
use crate::{
    build_orders::{
        BuildLease, BuildOrder, BuildResult, CLAIM_WAIT_SECS, ClaimBuild, GitAuthorize, GitGrant,
        GiveUpApp, NewBuild, PushVerdict, QueuedBuild, RepositorySize,
    },
    ids::{AppId, BuildId},
};

impl Client {
    /// Asks whether a git client may read or write an app's repository.
    pub async fn authorize_git(&self, ask: &GitAuthorize) -> Result<GitGrant, ClientError> {
        self.call(Method::POST, "/internal/git/authorize", ask)
            .await
    }

    /// Tells how large an app's repository is.
    pub async fn report_repository(&self, size: &RepositorySize) -> Result<(), ClientError> {
        self.tell(Method::POST, "/internal/git/size", size).await
    }

    /// Gives up an app that was made for a push that stored nothing.
    pub async fn give_up_app(&self, app: AppId) -> Result<(), ClientError> {
        self.tell(Method::POST, "/internal/git/give-up", &GiveUpApp { app })
            .await
    }

    /// Queues a build.
    pub async fn queue_build(&self, build: &NewBuild) -> Result<QueuedBuild, ClientError> {
        self.call(Method::POST, "/internal/builds", build).await
    }

    /// Waits for a build to do.
    pub async fn claim_build(&self, claim: &ClaimBuild) -> Result<Option<BuildOrder>, ClientError> {
        let request = self
            .request(Method::POST, "/internal/builds/claim")
            .json(claim);
        self.poll(request, Duration::from_secs(CLAIM_WAIT_SECS))
            .await
    }

    /// Appends to a build's output, and keeps its lease.
    pub async fn append_build_output(
        &self,
        build: BuildId,
        output: Bytes,
    ) -> Result<BuildLease, ClientError> {
        let path = format!("/internal/builds/{build}/output");
        let request = self
            .request(Method::POST, &path)
            .timeout(super::CALL_TIMEOUT)
            .body(output);
        self.json(self.send(request).await?).await
    }

    /// Keeps a build's lease while it has nothing to say.
    pub async fn heartbeat_build(&self, build: BuildId) -> Result<BuildLease, ClientError> {
        self.call(
            Method::POST,
            &format!("/internal/builds/{build}/heartbeat"),
            &(),
        )
        .await
    }

    /// Ends a build.
    pub async fn finish_build(
        &self,
        build: BuildId,
        result: &BuildResult,
    ) -> Result<(), ClientError> {
        self.tell(
            Method::POST,
            &format!("/internal/builds/{build}/result"),
            result,
        )
        .await
    }

    /// Follows a build's output from byte `offset` until the push has ended.
    pub async fn follow_build_output(
        &self,
        build: BuildId,
        offset: u64,
    ) -> Result<impl Stream<Item = Result<Bytes, ClientError>> + use<>, ClientError> {
        let path = format!("/internal/builds/{build}/output?offset={offset}");
        let response = self.send(self.request(Method::GET, &path)).await?;
        let client = self.clone();
        Ok(response
            .bytes_stream()
            .map_err(move |source| client.unreachable(source)))
    }

    /// Waits for the end of a push.
    pub async fn push_verdict(&self, build: BuildId) -> Result<Option<PushVerdict>, ClientError> {
        let request = self.request(Method::GET, &format!("/internal/builds/{build}/verdict"));
        self.poll(request, Duration::from_secs(CLAIM_WAIT_SECS))
            .await
    }
}
