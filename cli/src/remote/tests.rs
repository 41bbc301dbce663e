use proptest::prelude::*;

use super::*;

fn http(server: &str, app: &str) -> Option<Remote> {
    Some(Remote {
        place: Place::Http(server.parse().unwrap()),
        app: app.parse().unwrap(),
    })
}

fn ssh(host: &str, app: &str) -> Option<Remote> {
    Some(Remote {
        place: Place::Ssh { host: host.into() },
        app: app.parse().unwrap(),
    })
}

#[test]
fn remotes_are_read() {
    for (url, expect) in [
        (
            "http://localhost:7000/shop.git",
            http("http://localhost:7000", "shop"),
        ),
        (
            "http://localhost:7000/shop",
            http("http://localhost:7000", "shop"),
        ),
        (
            "http://localhost:7000/shop.git/",
            http("http://localhost:7000", "shop"),
        ),
        (
            "https://f.example.com/paas/shop.git",
            http("https://f.example.com/paas", "shop"),
        ),
        (
            "https://ada:secret@f.example.com/shop.git",
            http("https://f.example.com", "shop"),
        ),
        (
            "HTTPS://F.example.com/shop.git",
            http("https://f.example.com", "shop"),
        ),
        (
            "http://[::1]:7000/shop.git",
            http("http://[::1]:7000", "shop"),
        ),
        (
            "ssh://git@localhost:2222/shop.git",
            ssh("localhost", "shop"),
        ),
        ("ssh://localhost/shop", ssh("localhost", "shop")),
        ("git@f.example.com:shop.git", ssh("f.example.com", "shop")),
        ("git@f.example.com:/shop.git", ssh("f.example.com", "shop")),
        ("f.example.com:shop", ssh("f.example.com", "shop")),
        ("git@[::1]:shop.git", ssh("::1", "shop")),
        ("https://github.com/", None),
        ("https://github.com", None),
        ("git@github.com:ada/shop.git", None),
        ("ssh://git@github.com/ada/shop.git", None),
        ("ftp://localhost/shop.git", None),
        ("file:///srv/shop.git", None),
        ("/srv/shop.git", None),
        ("../shop.git", None),
        ("C:\\shop", None),
        ("http://localhost:7000/Shop.git", None),
        ("http://localhost:7000/..git", None),
        ("git@:shop.git", None),
        ("", None),
    ] {
        assert_eq!(parse(url).ok(), expect, "{url}");
    }
}

#[test]
fn server_addresses_are_read() {
    for (text, expect) in [
        ("http://localhost:7000", Some("http://localhost:7000")),
        (" http://localhost:7000/ ", Some("http://localhost:7000")),
        ("https://F.example.com:443/", Some("https://f.example.com")),
        (
            "https://f.example.com/paas/",
            Some("https://f.example.com/paas"),
        ),
        (
            "https://f.example.com/?a=b#c",
            Some("https://f.example.com"),
        ),
        ("f.example.com", None),
        ("f.example.com:7000", None),
        ("ssh://f.example.com", None),
        ("https://ada:secret@f.example.com", None),
        ("", None),
    ] {
        let parsed = text.parse::<ServerUrl>();
        assert_eq!(
            parsed.as_ref().ok().map(ToString::to_string).as_deref(),
            expect,
            "{text}"
        );
        if let Err(error) = parsed {
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}

proptest! {
    #[test]
    fn every_url_that_the_server_makes_is_read_back(
        app in "[a-z][a-z0-9-]{0,27}[a-z0-9]",
        host in "[a-z][a-z0-9]{0,10}(\\.[a-z]{2,5})?",
        port in 1u16..,
    ) {
        for url in [
            format!("http://{host}:{port}/{app}.git"),
            format!("https://{host}:{port}/{app}.git"),
            format!("ssh://git@{host}:{port}/{app}.git"),
            format!("git@{host}:{app}.git"),
        ] {
            prop_assert_eq!(parse(&url).map(|remote| remote.app.to_string()), Ok(app.clone()));
        }
    }

    #[test]
    fn no_text_breaks_the_reading(text in "\\PC{0,60}") {
        // What is read has an app's name; all else is refused. Neither may panic.
        drop(parse(&text));
        drop(text.parse::<ServerUrl>());
    }
}
