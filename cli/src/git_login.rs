//! Teaching git to push over HTTP without asking: git runs `app git:credential`, which answers
//! from the credentials file. Only for Fairway's own address; other hosts keep their helpers.

use fairway_api::secret::Secret;

use crate::{failure::Failure, git, remote::ServerUrl, session::Session};

/// The end of the helper's command line, by which ours is known.
const HELPER_VERB: &str = " git:credential";

impl Session {
    /// Makes git ask us for this server. Reports instead of failing: the login itself worked, and
    /// git then asks for a password.
    pub(crate) fn teach_git(&self, server: &ServerUrl) {
        let key = helper_key(server);
        let present = git::global_values(&key);
        if present
            .iter()
            .any(|value| !value.is_empty() && !is_ours(value))
        {
            self.output.talk(format!(
                "git has another credential helper for {server}; it was left alone ({key})."
            ));
            return;
        }
        // The empty value first keeps helpers for all hosts from storing the token a second time.
        let helper = self.helper();
        if present == ["", helper.as_str()] {
            return;
        }
        match git::set_global_values(&key, &["", &helper]) {
            Ok(()) => self.output.talk(format!(
                "git push to {server} now uses this login (global git setting {key})."
            )),
            Err(failure) => {
                self.output.talk(format!(
                    "git push will ask for a password: {}",
                    failure.message
                ));
            }
        }
    }

    /// Undoes [`Session::teach_git`], if the setting is still ours.
    pub(crate) fn unteach_git(&self, server: &ServerUrl) {
        let key = helper_key(server);
        let present = git::global_values(&key);
        let ours = present
            .iter()
            .all(|value| value.is_empty() || is_ours(value));
        if present.is_empty() || !ours {
            return;
        }
        if let Err(failure) = git::set_global_values(&key, &[]) {
            self.output.talk(format!(
                "{key} stays in git's settings: {}",
                failure.message
            ));
        }
    }

    /// User and password for git, if we have a token for the server that it asks about.
    pub(crate) fn git_login(&self, asked: &ServerUrl) -> Result<Option<(String, Secret)>, Failure> {
        let same = |server: &ServerUrl| server.url().origin() == asked.url().origin();
        let usual = self.server()?;
        let credentials = self.credentials()?;
        if let (true, Some(token)) = (same(&usual.url), usual.token) {
            let email = credentials
                .login(&usual.url)
                .map(|login| login.email.to_string());
            return Ok(Some((email.unwrap_or_else(|| "token".into()), token)));
        }
        let server = credentials.servers().find(same);
        let login = server.and_then(|server| credentials.login(&server).cloned());
        Ok(login.map(|login| (login.email.to_string(), login.token)))
    }

    /// The helper's command line for git's configuration: by name where the `PATH` leads to this
    /// program, so that it survives a move, else by its full path.
    fn helper(&self) -> String {
        let this = std::env::current_exe()
            .and_then(|path| path.canonicalize())
            .ok();
        let found = self
            .environment
            .finds("app")
            .and_then(|path| path.canonicalize().ok());
        let program = match this {
            Some(this) if found.as_ref() != Some(&this) => {
                let path = this.to_string_lossy().into_owned();
                shlex::try_quote(&path).map(Into::into).unwrap_or(path)
            }
            _ => "app".to_owned(),
        };
        format!("!{program}{HELPER_VERB}")
    }

    /// What a token that login makes is for, so that its owner knows it in a list.
    pub(crate) fn token_description(&self) -> String {
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        format!("app on {host}").chars().take(100).collect()
    }
}

fn helper_key(server: &ServerUrl) -> String {
    format!("credential.{server}.helper")
}

fn is_ours(value: &str) -> bool {
    value.starts_with('!') && value.ends_with(HELPER_VERB)
}
