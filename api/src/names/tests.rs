use super::*;

fn check<T: FromStr>(valid: &[&str], invalid: &[&str]) {
    for text in valid {
        assert!(text.parse::<T>().is_ok(), "{text:?} should be accepted");
    }
    for text in invalid {
        assert!(text.parse::<T>().is_err(), "{text:?} should be refused");
    }
}

#[test]
fn app_names() {
    check::<AppName>(
        &[
            "shop",
            "a1",
            "hello-python",
            "abcdefghijklmnopqrstuvwxyz1234",
        ],
        &[
            "", "a", "1a", "-a", "a-", "Shop", "a_b", "a.b", "../x", "ab\n", "é-app",
        ],
    );
    check::<AppName>(&[], &["abcdefghijklmnopqrstuvwxyz12345"]);
}

#[test]
fn process_types() {
    check::<ProcessType>(
        &["web", "worker", "release", "my-worker", "w2"],
        &[
            "",
            "Web",
            "web.1",
            "run",
            "router",
            "a b",
            "-a",
            "a-",
            "../../etc",
            "a_b",
        ],
    );
}

#[test]
fn hostnames() {
    check::<Hostname>(
        &["example.com", "WWW.Example.COM.", "a.b-c.d1", "localhost"],
        &[
            "",
            ".",
            "a..b",
            "-a.com",
            "a-.com",
            "ex ample.com",
            "a/b",
            "*.x.com",
            "ü.de",
            "a:80",
        ],
    );
    let parsed: Hostname = "WWW.Example.COM.".parse().unwrap();
    assert_eq!(parsed.as_str(), "www.example.com");
}

#[test]
fn config_names() {
    check::<ConfigName>(
        &["A", "_x", "DATABASE_URL", "a1"],
        &["", "1A", "A-B", "A=B", "A B", "Ä"],
    );
}

#[test]
fn emails() {
    check::<Email>(
        &["a@b", "alice@example.com", "a+b@x.y"],
        &["", "@x", "a@", "a b@c", "a@b@c", "a"],
    );
}

#[test]
fn digests_and_commits() {
    let hex = "a".repeat(64);
    check::<Digest>(
        &[&format!("sha256:{hex}")],
        &[
            "",
            &hex,
            &format!("sha256:{}", "A".repeat(64)),
            "sha256:ab",
            "md5:aa",
        ],
    );
    check::<CommitId>(&[&hex, &"0".repeat(40)], &["", "abc", &"g".repeat(40)]);
}

#[test]
fn branches() {
    check::<BranchName>(
        &["main", "feature/x", "v1.2", "a-b_c"],
        &[
            "", "/a", "a/", "a//b", "a..b", "a b", "a~1", ".a", "a.lock", "@", "a@{1}", "-x", "a.",
        ],
    );
}

#[test]
fn an_error_names_the_kind_the_value_and_the_rule() {
    let error = "No Good".parse::<AppName>().unwrap_err().to_string();
    assert!(
        error.starts_with("app name \"No Good\" is not valid: it must be 2 to 30"),
        "{error}"
    );
}

proptest::proptest! {
    #[test]
    fn a_valid_name_survives_json(text in "[a-z][a-z0-9-]{0,10}[a-z0-9]") {
        let name: AppName = text.parse().unwrap();
        let json = serde_json::to_string(&name).unwrap();
        proptest::prop_assert_eq!(serde_json::from_str::<AppName>(&json).unwrap(), name);
    }

    #[test]
    fn parsing_never_panics(text in ".*") {
        let _outcomes = (
            text.parse::<AppName>().is_ok(), text.parse::<Hostname>().is_ok(),
            text.parse::<Email>().is_ok(), text.parse::<BranchName>().is_ok(),
        );
    }
}
