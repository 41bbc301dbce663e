use super::*;
use crate::credentials::Login;

fn environment(url: Option<&str>, token: Option<&str>) -> Environment {
    Environment {
        url: url.map(Into::into),
        token: token.map(Secret::new),
        app: None,
        settings_dir: None,
        home: None,
        editor: None,
        term: None,
        colour_allowed: false,
        display: false,
        path: None,
    }
}

/// Logged in to `a` and then to `b`, which is the default.
fn credentials() -> Credentials {
    let mut credentials = Credentials::default();
    for name in ["a", "b"] {
        let server: ServerUrl = format!("http://{name}.example:7000").parse().unwrap();
        let email = format!("{name}@example.com").parse().unwrap();
        credentials.keep(
            &server,
            Login {
                email,
                token: Secret::new(format!("token-{name}")),
            },
        );
    }
    credentials
}

#[test]
fn a_token_goes_only_to_its_own_server() {
    let (a, b) = ("http://a.example:7000", "http://b.example:7000");
    let other = "http://other.example:7000";
    for (url, token, remote, expect) in [
        // Nothing names a server: the last login.
        (None, None, None, format!("{b} token-b")),
        (None, Some("env"), None, format!("{b} env")),
        // FAIRWAY_URL decides over everything.
        (Some(a), None, None, format!("{a} token-a")),
        (Some(a), Some("env"), None, format!("{a} env")),
        (
            Some(a),
            None,
            Some(format!("{b}/shop.git")),
            format!("{a} token-a"),
        ),
        (Some(other), None, None, format!("{other} none")),
        // The app's remote decides over the last login, and gets no token that is not its own.
        (
            None,
            None,
            Some(format!("{a}/shop.git")),
            format!("{a} token-a"),
        ),
        (
            None,
            Some("env"),
            Some(format!("{a}/shop.git")),
            format!("{a} token-a"),
        ),
        (
            None,
            Some("env"),
            Some(format!("{b}/shop.git")),
            format!("{b} env"),
        ),
        (
            None,
            None,
            Some(format!("{other}/shop.git")),
            format!("{other} none"),
        ),
        (
            None,
            Some("env"),
            Some(format!("{other}/shop.git")),
            format!("{other} none"),
        ),
        // An SSH remote says only the host.
        (
            None,
            None,
            Some("git@a.example:shop.git".into()),
            format!("{a} token-a"),
        ),
        (
            None,
            None,
            Some("git@other.example:shop.git".into()),
            format!("{b} token-b"),
        ),
    ] {
        let place = remote
            .as_deref()
            .map(|url| remote::parse(url).unwrap().place);
        let server =
            choose_server(&environment(url, token), &credentials(), place.as_ref()).unwrap();
        let token = server.token.as_ref().map_or("none", |token| token.expose());
        assert_eq!(
            format!("{} {token}", server.url),
            expect,
            "{url:?} {token:?} {remote:?}"
        );
    }
}

#[test]
fn without_any_word_it_is_the_machine_itself() {
    let nowhere = choose_server(&environment(None, None), &Credentials::default(), None).unwrap();
    assert_eq!(nowhere.url.to_string(), SERVER_DEFAULT);
}

fn remotes(list: &[(&str, &str)]) -> Vec<GitRemote> {
    let remote = |(name, url): &(&str, &str)| GitRemote {
        name: (*name).to_owned(),
        url: (*url).to_owned(),
    };
    list.iter().map(remote).collect()
}

#[test]
fn the_app_is_that_of_the_remote() {
    let here = "http://localhost:7000";
    let known = [here.parse().unwrap()];
    let url = |app: &str| format!("{here}/{app}.git");
    let (shop, staging) = (url("shop"), url("staging"));
    let origin = ("origin", "https://github.com/ada/thing.git");
    for (list, wanted, expect) in [
        (&[origin, ("fairway", &*shop)][..], None, "shop"),
        (&[("staging", &*staging), ("fairway", &*shop)], None, "shop"),
        (
            &[("staging", &*staging), ("fairway", &*shop)],
            Some("staging"),
            "staging",
        ),
        (&[origin, ("prod", &*shop)], None, "shop"),
        (
            &[
                ("prod", &*shop),
                ("ssh", "ssh://git@localhost:2222/shop.git"),
            ],
            None,
            "shop",
        ),
        (
            &[("prod", &*shop), ("staging", &*staging)],
            None,
            "belong to several apps",
        ),
        (
            &[("fairway", &*shop), ("fairway", &*staging)],
            None,
            "has several URLs",
        ),
        (&[("fairway", "/srv/git")], None, "does not say which app"),
        (&[origin], None, "no app is chosen"),
        (&[], None, "no app is chosen"),
        (&[origin], Some("prod"), "there is no git remote prod"),
    ] {
        let shown = match choose_remote(&remotes(list), wanted, &known) {
            Ok(chosen) => chosen.app.to_string(),
            Err(failure) => {
                assert_eq!(failure.kind, Kind::Usage);
                assert!(failure.hint.is_some(), "{failure:?}");
                failure.message
            }
        };
        assert!(shown.contains(expect), "{list:?} {wanted:?}: {shown}");
    }
}
