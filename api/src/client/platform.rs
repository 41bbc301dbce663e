//! Calls of the public API: what people, the `app` command and the dashboard use.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use reqwest::{Method, Response};
use url::Url;

use super::{Client, ClientError};
use crate::{
    accounts::{Account, NewAccount, NewToken, PasswordChange, RemoveAccount, Token},
    apps::{App, AppPatch, NewApp},
    builds::Build,
    config_vars::{ConfigPatch, ConfigVars},
    deployments::{Deployment, Strategy, WishKind},
    domains::{Domain, NewDomain},
    dynos::{Dyno, NewDyno},
    formation::{Formation, FormationBatch},
    ids::{AdmissionId, BuildId, TokenId},
    jobs::{Job, JobPatch, NewRun, Run},
    keys::{Key, NewKey},
    logs::{LogSession, NewLogSession},
    names::{AppName, Email, Hostname, ServiceName},
    reach::{ExternalNameInfo, NetworkRule, NewExternalName, NewNetworkRule},
    releases::{Release, Rollback},
    secret::Secret,
    sizes::Size,
};

/// Bytes that arrive over time: logs, build output.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, ClientError>> + Send>>;

impl Client {
    /// The account behind this client's token.
    pub async fn account(&self) -> Result<Account, ClientError> {
        self.get("/account").await
    }

    /// Makes an account; for admins.
    pub async fn create_account(&self, account: &NewAccount) -> Result<Account, ClientError> {
        self.call(Method::POST, "/users", account).await
    }

    /// All accounts; for admins.
    pub async fn accounts(&self) -> Result<Vec<Account>, ClientError> {
        self.list("/users").await
    }

    /// Removes an account; for admins.
    pub async fn remove_account(
        &self,
        email: &Email,
        remove: &RemoveAccount,
    ) -> Result<Account, ClientError> {
        let path = format!("/users/{}", segment(email.as_str()));
        self.call(Method::DELETE, &path, remove).await
    }

    /// Changes the password of this client's account; its other tokens end.
    pub async fn change_password(&self, change: &PasswordChange) -> Result<Account, ClientError> {
        self.call(Method::PATCH, "/account", change).await
    }

    /// Makes another token of this client's account.
    pub async fn create_token(&self, token: &NewToken) -> Result<Token, ClientError> {
        self.call(Method::POST, "/oauth/authorizations", token)
            .await
    }

    /// Trades email and password for a token.
    pub async fn log_in(
        &self,
        email: &Email,
        password: &Secret,
        token: &NewToken,
    ) -> Result<Token, ClientError> {
        let request = self
            .http
            .post(self.url("/oauth/authorizations"))
            .timeout(super::CALL_TIMEOUT)
            .basic_auth(email, Some(password.expose()))
            .json(token);
        self.json(self.send(request).await?).await
    }

    /// The account's tokens, without their secrets.
    pub async fn tokens(&self) -> Result<Vec<Token>, ClientError> {
        self.list("/oauth/authorizations").await
    }

    /// The token that this client uses.
    pub async fn current_token(&self) -> Result<Token, ClientError> {
        self.get("/oauth/authorizations/~").await
    }

    /// Revokes a token.
    pub async fn revoke_token(&self, id: TokenId) -> Result<(), ClientError> {
        self.tell(Method::DELETE, &format!("/oauth/authorizations/{id}"), &())
            .await
    }

    /// Revokes the token that this client uses.
    pub async fn log_out(&self) -> Result<(), ClientError> {
        self.tell(Method::DELETE, "/oauth/authorizations/~", &())
            .await
    }

    /// The account's public SSH keys.
    pub async fn keys(&self) -> Result<Vec<Key>, ClientError> {
        self.list("/account/keys").await
    }

    /// Adds a public SSH key.
    pub async fn add_key(&self, key: &NewKey) -> Result<Key, ClientError> {
        self.call(Method::POST, "/account/keys", key).await
    }

    /// Removes a key by id or fingerprint.
    pub async fn remove_key(&self, key: &str) -> Result<(), ClientError> {
        self.tell(
            Method::DELETE,
            &format!("/account/keys/{}", segment(key)),
            &(),
        )
        .await
    }

    /// All apps that the account may see.
    pub async fn apps(&self) -> Result<Vec<App>, ClientError> {
        self.list("/apps").await
    }

    /// One app.
    pub async fn app(&self, app: &AppName) -> Result<App, ClientError> {
        self.get(&format!("/apps/{app}")).await
    }

    /// Makes an app.
    pub async fn create_app(&self, app: &NewApp) -> Result<App, ClientError> {
        self.call(Method::POST, "/apps", app).await
    }

    /// Changes an app.
    pub async fn update_app(&self, app: &AppName, patch: &AppPatch) -> Result<App, ClientError> {
        self.call(Method::PATCH, &format!("/apps/{app}"), patch)
            .await
    }

    /// Destroys an app with everything that belongs to it.
    pub async fn destroy_app(&self, app: &AppName) -> Result<App, ClientError> {
        self.call(Method::DELETE, &format!("/apps/{app}"), &())
            .await
    }

    /// An app's builds, newest first.
    pub async fn builds(&self, app: &AppName) -> Result<Vec<Build>, ClientError> {
        self.get(&format!("/apps/{app}/builds")).await
    }

    /// One build.
    pub async fn build(&self, app: &AppName, id: BuildId) -> Result<Build, ClientError> {
        self.get(&format!("/apps/{app}/builds/{id}")).await
    }

    /// Cancels a build that has not ended.
    pub async fn cancel_build(&self, app: &AppName, id: BuildId) -> Result<Build, ClientError> {
        self.call(Method::DELETE, &format!("/apps/{app}/builds/{id}"), &())
            .await
    }

    /// An app's releases, newest first.
    pub async fn releases(&self, app: &AppName) -> Result<Vec<Release>, ClientError> {
        self.get(&format!("/apps/{app}/releases")).await
    }

    /// One release by id or version (`7`, `v7`).
    pub async fn release(&self, app: &AppName, release: &str) -> Result<Release, ClientError> {
        self.get(&format!("/apps/{app}/releases/{}", segment(release)))
            .await
    }

    /// Rolls back: a new release with image, config and process types of an earlier one.
    pub async fn roll_back(
        &self,
        app: &AppName,
        rollback: &Rollback,
    ) -> Result<Release, ClientError> {
        self.call(Method::POST, &format!("/apps/{app}/releases"), rollback)
            .await
    }

    /// Wanted counts and sizes.
    pub async fn formation(&self, app: &AppName) -> Result<Vec<Formation>, ClientError> {
        self.get(&format!("/apps/{app}/formation")).await
    }

    /// Changes counts and sizes, all or none.
    pub async fn scale(
        &self,
        app: &AppName,
        batch: &FormationBatch,
    ) -> Result<Vec<Formation>, ClientError> {
        self.call(Method::PATCH, &format!("/apps/{app}/formation"), batch)
            .await
    }

    /// An app's pods, superseded and one-off ones included.
    pub async fn dynos(&self, app: &AppName) -> Result<Vec<Dyno>, ClientError> {
        self.get(&format!("/apps/{app}/dynos")).await
    }

    /// One pod by id or name.
    pub async fn dyno(&self, app: &AppName, dyno: &str) -> Result<Dyno, ClientError> {
        self.get(&format!("/apps/{app}/dynos/{}", segment(dyno)))
            .await
    }

    /// Starts a one-off pod.
    pub async fn run(&self, app: &AppName, dyno: &NewDyno) -> Result<Dyno, ClientError> {
        self.call(Method::POST, &format!("/apps/{app}/dynos"), dyno)
            .await
    }

    /// Replaces pods by fresh ones: all, those of a type (`web`), or one (`web.1`).
    pub async fn restart(&self, app: &AppName, which: Option<&str>) -> Result<(), ClientError> {
        let path = match which {
            None => format!("/apps/{app}/dynos"),
            Some(which) => format!("/apps/{app}/dynos/{}", segment(which)),
        };
        self.tell(Method::DELETE, &path, &()).await
    }

    /// Stops a one-off pod, or replaces a pod of the formation.
    pub async fn stop_dyno(&self, app: &AppName, dyno: &str) -> Result<(), ClientError> {
        let path = format!("/apps/{app}/dynos/{}/actions/stop", segment(dyno));
        self.tell(Method::POST, &path, &()).await
    }

    /// Jobs of the app's current release.
    pub async fn jobs(&self, app: &AppName) -> Result<Vec<Job>, ClientError> {
        self.get(&format!("/apps/{app}/jobs")).await
    }

    /// One job.
    pub async fn job(&self, app: &AppName, job: &str) -> Result<Job, ClientError> {
        self.get(&format!("/apps/{app}/jobs/{}", segment(job)))
            .await
    }

    /// Suspends a job or resumes it.
    pub async fn update_job(
        &self,
        app: &AppName,
        job: &str,
        patch: &JobPatch,
    ) -> Result<Job, ClientError> {
        let path = format!("/apps/{app}/jobs/{}", segment(job));
        self.call(Method::PATCH, &path, patch).await
    }

    /// Runs a job now.
    pub async fn start_job(&self, app: &AppName, job: &str) -> Result<Run, ClientError> {
        let path = format!("/apps/{app}/jobs/{}/runs", segment(job));
        self.call(Method::POST, &path, &()).await
    }

    /// The app's newest runs, newest first.
    pub async fn runs(&self, app: &AppName) -> Result<Vec<Run>, ClientError> {
        self.get(&format!("/apps/{app}/runs")).await
    }

    /// One run by id or name.
    pub async fn run_info(&self, app: &AppName, run: &str) -> Result<Run, ClientError> {
        self.get(&format!("/apps/{app}/runs/{}", segment(run)))
            .await
    }

    /// Runs a command in one pod or many.
    pub async fn start_run(&self, app: &AppName, run: &NewRun) -> Result<Run, ClientError> {
        self.call(Method::POST, &format!("/apps/{app}/runs"), run)
            .await
    }

    /// Ends a run.
    pub async fn stop_run(&self, app: &AppName, run: &str) -> Result<Run, ClientError> {
        let path = format!("/apps/{app}/runs/{}/actions/stop", segment(run));
        self.call(Method::POST, &path, &()).await
    }

    /// The app's config vars.
    pub async fn config_vars(&self, app: &AppName) -> Result<ConfigVars, ClientError> {
        self.get(&format!("/apps/{app}/config-vars")).await
    }

    /// Sets and unsets config vars in one release.
    pub async fn update_config_vars(
        &self,
        app: &AppName,
        patch: &ConfigPatch,
    ) -> Result<ConfigVars, ClientError> {
        self.call(Method::PATCH, &format!("/apps/{app}/config-vars"), patch)
            .await
    }

    /// The app's hostnames.
    pub async fn domains(&self, app: &AppName) -> Result<Vec<Domain>, ClientError> {
        self.list(&format!("/apps/{app}/domains")).await
    }

    /// Rules of the pod network that name the app on either side.
    pub async fn network_rules(&self, app: &AppName) -> Result<Vec<NetworkRule>, ClientError> {
        self.get(&format!("/apps/{app}/network")).await
    }

    /// Lets another app's pods reach this one's.
    pub async fn allow_network(
        &self,
        app: &AppName,
        rule: &NewNetworkRule,
    ) -> Result<NetworkRule, ClientError> {
        self.call(Method::POST, &format!("/apps/{app}/network"), rule)
            .await
    }

    /// Takes such a rule back.
    pub async fn deny_network(
        &self,
        app: &AppName,
        rule: AdmissionId,
    ) -> Result<NetworkRule, ClientError> {
        self.call(Method::DELETE, &format!("/apps/{app}/network/{rule}"), &())
            .await
    }

    /// Names of things outside, as the app's pods find them.
    pub async fn external_names(
        &self,
        app: &AppName,
    ) -> Result<Vec<ExternalNameInfo>, ClientError> {
        self.get(&format!("/apps/{app}/external-names")).await
    }

    /// Says what an external name stands for.
    pub async fn set_external_name(
        &self,
        app: &AppName,
        name: &ServiceName,
        target: &NewExternalName,
    ) -> Result<ExternalNameInfo, ClientError> {
        let path = format!("/apps/{app}/external-names/{name}");
        self.call(Method::PUT, &path, target).await
    }

    /// Forgets an external name.
    pub async fn remove_external_name(
        &self,
        app: &AppName,
        name: &ServiceName,
    ) -> Result<ExternalNameInfo, ClientError> {
        let path = format!("/apps/{app}/external-names/{name}");
        self.call(Method::DELETE, &path, &()).await
    }

    /// Claims a hostname.
    pub async fn add_domain(
        &self,
        app: &AppName,
        domain: &NewDomain,
    ) -> Result<Domain, ClientError> {
        self.call(Method::POST, &format!("/apps/{app}/domains"), domain)
            .await
    }

    /// Gives a hostname up.
    pub async fn remove_domain(
        &self,
        app: &AppName,
        hostname: &Hostname,
    ) -> Result<Domain, ClientError> {
        self.call(
            Method::DELETE,
            &format!("/apps/{app}/domains/{hostname}"),
            &(),
        )
        .await
    }

    /// The app's newest deployments, newest first.
    pub async fn deployments(&self, app: &AppName) -> Result<Vec<Deployment>, ClientError> {
        self.get(&format!("/apps/{app}/deployments")).await
    }

    /// Asks something of a deployment: of the one with this id, or of `current`.
    pub async fn ask_deployment(
        &self,
        app: &AppName,
        which: &str,
        action: WishKind,
    ) -> Result<Deployment, ClientError> {
        let which = segment(which);
        let path = format!("/apps/{app}/deployments/{which}/actions/{action}");
        self.call(Method::POST, &path, &()).await
    }

    /// How the app's next deployments go.
    pub async fn strategy(&self, app: &AppName) -> Result<Strategy, ClientError> {
        self.get(&format!("/apps/{app}/deploy-strategy")).await
    }

    /// Sets how the app's next deployments go.
    pub async fn set_strategy(
        &self,
        app: &AppName,
        strategy: &Strategy,
    ) -> Result<Strategy, ClientError> {
        self.call(
            Method::PUT,
            &format!("/apps/{app}/deploy-strategy"),
            strategy,
        )
        .await
    }

    /// Leaves it to app.json again how the app's deployments go.
    pub async fn unset_strategy(&self, app: &AppName) -> Result<Strategy, ClientError> {
        let path = format!("/apps/{app}/deploy-strategy");
        self.call(Method::DELETE, &path, &()).await
    }

    /// Sizes of pods.
    pub async fn sizes(&self) -> Result<Vec<Size>, ClientError> {
        self.get("/dyno-sizes").await
    }

    /// Opens a log stream; read it with [`Client::stream`].
    pub async fn open_logs(
        &self,
        app: &AppName,
        session: &NewLogSession,
    ) -> Result<LogSession, ClientError> {
        self.call(Method::POST, &format!("/apps/{app}/log-sessions"), session)
            .await
    }

    /// The same for callers that stand beside the API: the URL's path is asked for at this client's
    /// own base, since the public name need not resolve there.
    pub async fn stream_path(&self, url: &str) -> Result<ByteStream, ClientError> {
        let path = path_of(url).ok_or_else(|| ClientError::NotOurs {
            url: self.base.to_string(),
            what: "it handed out a stream that is no URL".into(),
        })?;
        self.stream(&self.url(&path)).await
    }

    /// Reads a stream URL that the API handed out (log session, build output), without sending
    /// this client's token to it.
    pub async fn stream(&self, url: &Url) -> Result<ByteStream, ClientError> {
        let response = self.send(self.http.get(url.clone())).await?;
        Ok(self.bytes(response))
    }

    pub(super) fn bytes(&self, response: Response) -> ByteStream {
        let client = self.clone();
        let bytes = response.bytes_stream();
        Box::pin(bytes.map_err(move |source| client.unreachable(source)))
    }
}

/// Path and query of a URL that the API handed out.
fn path_of(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    Some(
        url.query()
            .map_or_else(|| url.path().to_owned(), |q| format!("{}?{q}", url.path())),
    )
}

/// A user's text as one segment of a path: a `/` in it must not become another path.
pub(super) fn segment(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}
