//! Who is logged in: an API token in a cookie that scripts cannot read.

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::request::Parts,
};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use fairway_api::{client::Client, secret::Secret};

use crate::{Config, error::PageError};

const COOKIE: &str = "fairway_session";
/// How long a login lasts, in seconds: two weeks. The token ends then; the cookie ends with the
/// browser or when the token is refused.
pub(crate) const SESSION_SECS: u64 = 14 * 24 * 60 * 60;

/// The API with the token of whoever asks for the page.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) client: Client,
}

impl FromRequestParts<Config> for Session {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, config: &Config) -> Result<Self, PageError> {
        let found = <Self as OptionalFromRequestParts<Config>>::from_request_parts(parts, config);
        found.await?.ok_or(PageError::LoggedOut)
    }
}

impl OptionalFromRequestParts<Config> for Session {
    type Rejection = PageError;

    async fn from_request_parts(
        parts: &mut Parts,
        config: &Config,
    ) -> Result<Option<Self>, PageError> {
        let jar = CookieJar::from_headers(&parts.headers);
        Ok(jar.get(COOKIE).map(|cookie| Self {
            client: config.client.with_token(Secret::new(cookie.value())),
        }))
    }
}

/// The cookie that starts a session.
pub(crate) fn start(token: &Secret, secure: bool) -> Cookie<'static> {
    Cookie::build((COOKIE, token.expose().to_owned()))
        .path("/")
        .http_only(true)
        .secure(secure)
        .same_site(SameSite::Lax)
        .build()
}

/// The cookie that ends one.
pub(crate) fn end() -> Cookie<'static> {
    Cookie::build((COOKIE, "")).path("/").build()
}
