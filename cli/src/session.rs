//! Which server and which app a command line means.
//!
//! The server: `FAIRWAY_URL`, else the one that the app's git remote points to, else the one last
//! logged in to, else `http://localhost:7000`. The app: `--app`, `--remote`, `FAIRWAY_APP`, else
//! the git remote `fairway`, else the only remote that points to a server we know.
//!
//! A token goes only where it belongs: one from the credentials file to its own server,
//! `FAIRWAY_TOKEN` never to a server that merely a git remote names.

use fairway_api::{client::Client, names::AppName, secret::Secret};

use crate::{
    arguments::Options,
    credentials::Credentials,
    environment::Environment,
    failure::{Failure, Kind},
    git::{self, GitRemote},
    output::Output,
    remote::{self, Place, ServerUrl},
};

/// The server of a machine that runs `bin/up`.
const SERVER_DEFAULT: &str = "http://localhost:7000";
/// The git remote that `app create` makes.
pub(crate) const REMOTE_DEFAULT: &str = "fairway";

/// What a command works with.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) environment: Environment,
    pub(crate) output: Output,
    options: Options,
}

/// A server and the token for it.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) url: ServerUrl,
    pub(crate) token: Option<Secret>,
}

impl Session {
    pub(crate) fn new(environment: Environment, options: Options) -> Self {
        let output = Output::new(options.json, environment.colour_allowed);
        Self {
            environment,
            output,
            options,
        }
    }

    /// What the credentials file holds.
    pub(crate) fn credentials(&self) -> Result<Credentials, Failure> {
        Credentials::read(self.environment.settings_dir.as_deref())
    }

    /// The server that is meant when no app decides.
    pub(crate) fn server(&self) -> Result<Server, Failure> {
        choose_server(&self.environment, &self.credentials()?, None)
    }

    /// A client of the server, for commands that are about no app.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        connect(self.server()?)
    }

    /// The app that is meant, and a client of its server.
    pub(crate) fn app(&self) -> Result<(Client, AppName), Failure> {
        self.app_or(None)
    }

    /// The same for commands that also take the app's name as their own argument.
    pub(crate) fn app_or(&self, named: Option<&str>) -> Result<(Client, AppName), Failure> {
        let credentials = self.credentials()?;
        let chosen = self.choose_app(named, &credentials)?;
        let server = choose_server(&self.environment, &credentials, chosen.place.as_ref())?;
        Ok((connect(server)?, chosen.app))
    }

    /// The app for a command whose `--remote` means something else: it makes that remote.
    pub(crate) fn app_without_remote(&self) -> Result<(Client, AppName), Failure> {
        let named = self
            .options
            .app
            .as_deref()
            .or(self.environment.app.as_deref());
        match named {
            Some(name) => self.app_or(Some(name)),
            None => Err(Failure::usage("no app is chosen").with_hint("Name it with -a APP.")),
        }
    }

    /// What `--remote` says.
    pub(crate) fn remote_name(&self) -> Option<&str> {
        self.options.remote.as_deref()
    }

    /// Refuses `--json` where the output is somebody else's.
    pub(crate) fn refuse_json(&self, why: &str, instead: &str) -> Result<(), Failure> {
        if self.output.json {
            return Err(
                Failure::usage(format!("--json has no meaning here: this {why}"))
                    .with_hint(format!("app {instead}.")),
            );
        }
        Ok(())
    }

    fn choose_app(
        &self,
        named: Option<&str>,
        credentials: &Credentials,
    ) -> Result<remote::Chosen, Failure> {
        let by_name = |name: &str| {
            Ok(remote::Chosen {
                app: name.parse()?,
                place: None,
            })
        };
        if let Some(name) = named.or(self.options.app.as_deref()) {
            return by_name(name);
        }
        if let Some(remote) = &self.options.remote {
            return choose_remote(&git::remotes(), Some(remote), &[]);
        }
        if let Some(name) = &self.environment.app {
            return by_name(name);
        }
        let mut known: Vec<ServerUrl> = credentials.servers().collect();
        known.push(choose_server(&self.environment, credentials, None)?.url);
        choose_remote(&git::remotes(), None, &known)
    }
}

/// Decides on the server. `place` is where the app's git remote leads, if one decided the app.
fn choose_server(
    environment: &Environment,
    credentials: &Credentials,
    place: Option<&Place>,
) -> Result<Server, Failure> {
    if let Some(url) = &environment.url {
        let url: ServerUrl = parse_server(url)?;
        let stored = credentials.login(&url).map(|login| login.token.clone());
        return Ok(Server {
            token: environment.token.clone().or(stored),
            url,
        });
    }
    let usual = match credentials.default_server() {
        Some(server) => server,
        None => parse_server(SERVER_DEFAULT)?,
    };
    let url = match place {
        Some(Place::Http(server)) => server.clone(),
        Some(Place::Ssh { host }) => credentials
            .servers()
            .find(|server| server.url().host_str() == Some(host))
            .unwrap_or_else(|| usual.clone()),
        None => usual.clone(),
    };
    let stored = credentials.login(&url).map(|login| login.token.clone());
    let token = if url == usual {
        environment.token.clone().or(stored)
    } else {
        stored
    };
    Ok(Server { url, token })
}

/// A URL that the API handed out.
pub(crate) fn stream_url(text: &str) -> Result<url::Url, Failure> {
    text.parse()
        .map_err(|_| Failure::new(Kind::Unreachable, "the server named no URL to read from"))
}

pub(crate) fn parse_server(text: &str) -> Result<ServerUrl, Failure> {
    text.parse::<ServerUrl>()
        .map_err(|error| Failure::usage(error.to_string()))
}

/// Decides on a remote: the wanted one, else `fairway`, else the only one at a known server.
fn choose_remote(
    remotes: &[GitRemote],
    wanted: Option<&str>,
    known: &[ServerUrl],
) -> Result<remote::Chosen, Failure> {
    let name = wanted.unwrap_or(REMOTE_DEFAULT);
    let named: Vec<&GitRemote> = remotes
        .iter()
        .filter(|remote| remote.name == name)
        .collect();
    match named[..] {
        [remote] => {
            return remote::parse(&remote.url).map(Into::into).map_err(|error| {
                Failure::usage(format!(
                    "the git remote {name} does not say which app: {error}"
                ))
                .with_hint("Name the app with -a APP, or repair the remote: app git:remote -a APP")
            });
        }
        [] => {}
        _ => {
            return Err(
                Failure::usage(format!("the git remote {name} has several URLs"))
                    .with_hint("Name the app with -a APP."),
            );
        }
    }
    if wanted.is_some() {
        return Err(
            Failure::usage(format!("there is no git remote {name} here"))
                .with_hint("git remote -v lists them; app git:remote -a APP makes one."),
        );
    }
    let at_known = |place: &Place| match place {
        Place::Http(server) => known.contains(server),
        Place::Ssh { host } => known
            .iter()
            .any(|server| server.url().host_str() == Some(host)),
    };
    let found: Vec<_> = remotes
        .iter()
        .filter_map(|remote| Some((remote, remote::parse(&remote.url).ok()?)))
        .filter(|(_, target)| at_known(&target.place))
        .collect();
    let several = found.iter().any(|(_, target)| target.app != found[0].1.app);
    match found.into_iter().next() {
        Some((_, target)) if !several => Ok(target.into()),
        Some(_) => Err(several_apps(remotes, &at_known)),
        None => Err(Failure::usage("no app is chosen")
            .with_hint("Name it with -a APP or FAIRWAY_APP, or work in a repository with the git remote fairway\n(app create NAME and app git:remote -a APP make it).")),
    }
}

fn several_apps(remotes: &[GitRemote], at_known: &dyn Fn(&Place) -> bool) -> Failure {
    let list = remotes.iter().filter_map(|remote| {
        let target = remote::parse(&remote.url)
            .ok()
            .filter(|target| at_known(&target.place))?;
        Some(format!("-r {}  ({})", remote.name, target.app))
    });
    let list: Vec<String> = list.collect();
    Failure::usage("the git remotes of this repository belong to several apps")
        .with_hint(format!("Choose one:\n{}", list.join("\n")))
}

/// A client; commands need a token, so that one without is told how to get it.
fn connect(server: Server) -> Result<Client, Failure> {
    if server.token.is_none() {
        return Err(Failure::new(
            Kind::NotAllowed,
            format!("you are not logged in to {}", server.url),
        )
        .with_hint(format!(
            "Log in: app login {}\nor set FAIRWAY_TOKEN (and FAIRWAY_URL).",
            server.url
        )));
    }
    Ok(Client::new(server.url.url().clone(), server.token))
}

#[cfg(test)]
mod tests;
