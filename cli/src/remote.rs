//! Reading a git remote's URL: which server, which app. Pure.

use std::fmt;

use fairway_api::names::AppName;
use url::Url;

/// The address of a Fairway API, without a final slash, user or query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl(Url);

/// A text that is no [`ServerUrl`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the address of a Fairway server: {why}")]
pub(crate) struct InvalidServerUrl {
    text: String,
    why: &'static str,
}

impl ServerUrl {
    /// The address itself.
    pub(crate) fn url(&self) -> &Url {
        &self.0
    }
}

impl std::str::FromStr for ServerUrl {
    type Err = InvalidServerUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |why| InvalidServerUrl {
            text: text.to_owned(),
            why,
        };
        let mut url = Url::parse(text.trim())
            .map_err(|_| invalid("write it like https://fairway.example.com:7000"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(invalid("it must start with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            // Not repeated in the error: it may be a password.
            let text = "the URL".to_owned();
            let why = "leave user and password out; app login asks for them";
            return Err(InvalidServerUrl { text, why });
        }
        url.set_query(None);
        url.set_fragment(None);
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self(url))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// Where a remote of Fairway leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) place: Place,
    pub(crate) app: AppName,
}

/// What a remote's URL says about the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Over HTTP: the API's own address.
    Http(ServerUrl),
    /// Over SSH: only the host; the API's port is not in it.
    Ssh { host: String },
}

/// An app that was decided on, with the place of its remote if a remote decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) app: AppName,
    pub(crate) place: Option<Place>,
}

impl From<Remote> for Chosen {
    fn from(remote: Remote) -> Self {
        Self {
            app: remote.app,
            place: Some(remote.place),
        }
    }
}

/// A URL that cannot be a remote of Fairway.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is not the URL of an app, like http://localhost:7000/shop.git")]
pub(crate) struct NotFairway;

/// Reads a remote's URL: `http://host:7000/shop.git`, `ssh://git@host:2222/shop.git` or
/// `git@host:shop.git`, each with or without `.git`.
pub(crate) fn parse(text: &str) -> Result<Remote, NotFairway> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => parse_http(url),
        Ok(url) if url.scheme() == "ssh" => {
            let host = url.host_str().ok_or(NotFairway)?.to_owned();
            let app = app_of(url.path().trim_start_matches('/'))?;
            Ok(Remote {
                place: Place::Ssh { host },
                app,
            })
        }
        // `git@host:shop.git` has no scheme, and `host:shop.git` looks like one.
        _ if text.contains("://") => Err(NotFairway),
        _ => parse_scp(text),
    }
}

fn parse_http(mut url: Url) -> Result<Remote, NotFairway> {
    let (base, last) = url
        .path()
        .trim_end_matches('/')
        .rsplit_once('/')
        .ok_or(NotFairway)?;
    let (base, app) = (base.to_owned(), app_of(last)?);
    url.set_path(&base);
    // A token in the URL is git's; ours comes from the credentials.
    url.set_username("")
        .and_then(|()| url.set_password(None))
        .map_err(|()| NotFairway)?;
    let server = url.as_str().parse().map_err(|_| NotFairway)?;
    Ok(Remote {
        place: Place::Http(server),
        app,
    })
}

fn parse_scp(text: &str) -> Result<Remote, NotFairway> {
    let address = text.split_once('@').map_or(text, |(_, rest)| rest);
    let (host, path) = match address.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once("]:").ok_or(NotFairway)?,
        None => address.split_once(':').ok_or(NotFairway)?,
    };
    if host.is_empty() || host.contains('/') {
        return Err(NotFairway);
    }
    let app = app_of(path.trim_start_matches('/'))?;
    Ok(Remote {
        place: Place::Ssh {
            host: host.to_owned(),
        },
        app,
    })
}

fn app_of(segment: &str) -> Result<AppName, NotFairway> {
    segment
        .strip_suffix(".git")
        .unwrap_or(segment)
        .parse()
        .map_err(|_| NotFairway)
}

#[cfg(test)]
mod tests;
