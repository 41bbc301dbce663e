//! The HTTP client that every part uses to talk to the controller.
//!
//! One type, [`Client`]; its methods stand in one file per kind of caller. It never retries by
//! itself: loops that call it are the retry.

mod attach;
mod autoscale;
mod builder;
mod carry;
mod events;
mod joining;
mod machines;
mod node;
mod pinned;
mod placement;
mod platform;
mod router;
mod sessions;
mod volumes;
mod wanted;

use std::{sync::Arc, time::Duration};

use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

use crate::{
    error::ApiError,
    nodes::{PROTOCOL, PROTOCOL_HEADER},
    secret::Secret,
};

pub use attach::{
    AttachControl, AttachFrame, AttachReceiver, AttachSender, AttachSocket, AttachSocketError,
};
pub use carry::Side;
pub use pinned::{ClientCertificate, Distrust, PinnedError, Trust};
pub use platform::ByteStream;
pub use wanted::{Pace, Passed};

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an ordinary call may take in all.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The most pages of a list that are read, so that no answer can make reading endless; a page has
/// 200 rows or more.
const PAGES_MAX: usize = 500;
/// The most bytes of an error body that are read.
const ERROR_BODY_BYTES_MAX: usize = 64 * 1024;

/// A connection to one controller with one credential.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Option<Secret>,
    /// Of a client over the cluster port.
    pinned: Option<Arc<pinned::Pinned>>,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The controller answered with an error.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// No answer, or the connection broke; the call may be tried again.
    #[error("cannot reach {url}")]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    /// Something that is not the controller's API answered.
    #[error("{url} did not answer as a Fairway API: {what}")]
    NotOurs { url: String, what: String },
}

impl ClientError {
    /// The API's error, if the API answered.
    pub fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) => Some(error),
            Self::Unreachable { .. } | Self::NotOurs { .. } => None,
        }
    }
}

impl Client {
    /// A client for the API at `base`, for example `http://127.0.0.1:7000`.
    ///
    /// # Panics
    /// If the TLS settings of the process cannot be used, which no input can cause.
    pub fn new(base: Url, token: Option<Secret>) -> Self {
        // Two providers in one process would make reqwest panic at first use; the first call wins,
        // later ones are refused, which is fine.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .build()
            .expect("the TLS provider was just installed");
        Self {
            http,
            base,
            token,
            pinned: None,
        }
    }

    /// The same connection with another credential.
    #[must_use]
    pub fn with_token(&self, token: Secret) -> Self {
        Self {
            token: Some(token),
            ..self.clone()
        }
    }

    /// Where the API is.
    pub fn base(&self) -> &Url {
        &self.base
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let (path, query) = path
            .split_once('?')
            .map_or((path, None), |(p, q)| (p, Some(q)));
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.set_query(query);
        url
    }

    /// A request with the headers every call has. The caller sets its own time limit.
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, self.url(path))
            .header(header::ACCEPT, "application/vnd.heroku+json; version=3")
            .header(PROTOCOL_HEADER, PROTOCOL);
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    /// Sends and turns every answer but a success into an error.
    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request
            .send()
            .await
            .map_err(|source| self.unreachable(source))?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(refused(response).await)
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let request = self.request(Method::GET, path).timeout(CALL_TIMEOUT);
        self.json(self.send(request).await?).await
    }

    /// All of a list, page by page.
    async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, ClientError> {
        let mut all = Vec::new();
        let mut next = None;
        for _ in 0..PAGES_MAX {
            let mut request = self.request(Method::GET, path).timeout(CALL_TIMEOUT);
            if let Some(range) = next {
                request = request.header(header::RANGE, range);
            }
            let response = self.send(request).await?;
            next = response.headers().get("next-range").cloned();
            all.extend(self.json::<Vec<T>>(response).await?);
            if next.is_none() {
                break;
            }
        }
        Ok(all)
    }

    async fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<T, ClientError> {
        let request = self.request(method, path).timeout(CALL_TIMEOUT).json(body);
        self.json(self.send(request).await?).await
    }

    /// A call whose answer does not matter beyond that it succeeded.
    async fn tell<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: &B,
    ) -> Result<(), ClientError> {
        let request = self.request(method, path).timeout(CALL_TIMEOUT).json(body);
        self.send(request).await.map(drop)
    }

    /// A call that the controller holds open until there is something to say; `None` when it had
    /// nothing within `wait`.
    async fn poll<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        wait: Duration,
    ) -> Result<Option<T>, ClientError> {
        let response = self.send(request.timeout(wait + CALL_TIMEOUT)).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        self.json(response).await.map(Some)
    }

    async fn json<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        let url = response.url().to_string();
        let body = response
            .bytes()
            .await
            .map_err(|source| self.unreachable(source))?;
        serde_json::from_slice(&body).map_err(|error| ClientError::NotOurs {
            url,
            what: error.to_string(),
        })
    }

    fn unreachable(&self, source: reqwest::Error) -> ClientError {
        ClientError::Unreachable {
            url: self.base.to_string(),
            source: source.without_url(),
        }
    }
}

/// Reads the error body of a refused call.
async fn refused(mut response: Response) -> ClientError {
    let (status, url) = (response.status(), response.url().to_string());
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > ERROR_BODY_BYTES_MAX {
            break;
        }
    }
    match serde_json::from_slice::<ApiError>(&body) {
        Ok(error) => ClientError::Api(error),
        Err(_) => ClientError::NotOurs {
            url,
            what: format!("it said {status}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, http::HeaderMap, routing::get};

    use super::Client;

    #[tokio::test]
    async fn a_list_is_read_to_its_end() {
        async fn page(headers: HeaderMap) -> ([(&'static str, &'static str); 1], Json<[u32; 2]>) {
            match headers.get("range").map(|range| range.to_str().unwrap()) {
                None => ([("next-range", "id ]2..")], Json([1, 2])),
                Some("id ]2..") => ([("next-range", "id ]4..")], Json([3, 4])),
                Some("id ]4..") => ([("last", "yes")], Json([5, 6])),
                Some(other) => panic!("asked for {other}"),
            }
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let site = Router::new().route("/numbers", get(page));
        tokio::spawn(async move { axum::serve(listener, site).await.unwrap() });
        let client = Client::new(url.parse().unwrap(), None);
        let numbers: Vec<u32> = client.list("/numbers").await.unwrap();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
    }
}
