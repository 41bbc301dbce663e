use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version, header, request};
use proptest::prelude::*;

use super::{Peer, for_client, for_pod, host, request_id, upgrade};
use crate::failure::Failure;

fn head(version: Version, uri: &str, fields: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::builder().version(version).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn peer() -> Peer {
    Peer::new("::ffff:10.0.0.1".parse().unwrap(), 8080, "http")
}

#[test]
fn the_host_is_named_once_and_without_contradiction() {
    let (h10, h11, h2) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
    let bad = Err(Failure::BadRequest);
    let one = [("host", "shop.localhost")];
    for (version, uri, fields, expect) in [
        (h11, "/", &one[..], Ok("shop.localhost")),
        (
            h11,
            "/",
            &[("host", "Shop.localhost:80")],
            Ok("Shop.localhost:80"),
        ),
        (h11, "/", &[], bad),
        (h11, "/", &[("host", "")], Ok("")),
        (h11, "/", &[("host", "a"), ("host", "a")], bad),
        (h11, "/", &[("host", "a, b")], bad),
        (h11, "/", &[("host", "a b")], bad),
        (h11, "/", &[("host", "a/b")], bad),
        (h11, "/", &[("host", "user@a")], bad),
        (h11, "http://shop.localhost/", &one, Ok("shop.localhost")),
        (
            h11,
            "http://SHOP.localhost.:80/",
            &one,
            Ok("shop.localhost"),
        ),
        (h11, "http://other.localhost/", &one, bad),
        (h11, "http://shop.localhost/", &[], bad),
        (h10, "/", &[], Ok("")),
        (h10, "/", &one, Ok("shop.localhost")),
        (h10, "/", &[("host", "a"), ("host", "b")], bad),
        (h2, "http://shop.localhost/", &[], Ok("shop.localhost")),
        (h2, "http://shop.localhost/", &one, Ok("shop.localhost")),
        (h2, "http://other.localhost/", &one, bad),
        (h2, "/", &[], bad),
    ] {
        let head = head(version, uri, fields);
        let expect = expect.map(HeaderValue::from_static);
        assert_eq!(host(&head), expect, "{version:?} {uri} {fields:?}");
    }
    let connect = Request::connect("shop.localhost:80").header("host", "shop.localhost:80");
    assert_eq!(
        host(&connect.body(()).unwrap().into_parts().0),
        Err(Failure::BadRequest)
    );
}

#[test]
fn a_sane_request_id_is_kept() {
    for (given, kept) in [
        ("abc", true),
        ("7f0c-1a:2/3.4+5=@_", true),
        ("", false),
        ("a b", false),
        ("a\"b", false),
        ("<script>", false),
        (&"a".repeat(200), true),
        (&"a".repeat(201), false),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", HeaderValue::from_str(given).unwrap());
        let id = request_id(&headers);
        assert_eq!(id == given, kept, "{given}");
        assert!(kept || id.len() == 36, "{id:?}");
    }
    assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
}

#[test]
fn only_honest_upgrades_pass() {
    let h11 = Version::HTTP_11;
    for (version, fields, expect) in [
        (
            h11,
            &[("connection", "Upgrade"), ("upgrade", "websocket")][..],
            Some("websocket"),
        ),
        (
            h11,
            &[("connection", "keep-alive, upgrade"), ("upgrade", "x/1")],
            Some("x/1"),
        ),
        (h11, &[("upgrade", "websocket")], None),
        (h11, &[("connection", "upgrade")], None),
        (h11, &[("connection", "upgrade"), ("upgrade", "h2c")], None),
        (
            h11,
            &[("connection", "upgrade"), ("upgrade", "websocket, H2C")],
            None,
        ),
        (
            h11,
            &[
                ("connection", "upgrade"),
                ("upgrade", "a"),
                ("upgrade", "b"),
            ],
            None,
        ),
        (
            Version::HTTP_10,
            &[("connection", "upgrade"), ("upgrade", "websocket")],
            None,
        ),
        (
            Version::HTTP_2,
            &[("connection", "upgrade"), ("upgrade", "websocket")],
            None,
        ),
    ] {
        let head = head(version, "/", fields);
        assert_eq!(
            upgrade(&head).as_ref().map(HeaderValue::as_bytes),
            expect.map(str::as_bytes)
        );
    }
}

#[test]
fn mapped_addresses_are_written_as_what_they_are() {
    assert_eq!(peer().address, "10.0.0.1");
    assert_eq!(Peer::new("::1".parse().unwrap(), 1, "http").address, "::1");
}

#[test]
fn cookies_of_http_2_become_one_header() {
    let mut head = head(
        Version::HTTP_2,
        "/",
        &[("cookie", "a=1"), ("cookie", "b=2")],
    );
    let host = HeaderValue::from_static("shop");
    for_pod(
        &mut head,
        &host,
        &HeaderValue::from_static("id"),
        &peer(),
        None,
    );
    let cookies: Vec<_> = head.headers.get_all("cookie").iter().collect();
    assert_eq!(cookies, ["a=1; b=2"]);
}

#[test]
fn a_switch_keeps_its_two_headers_and_no_other_answer_does() {
    for (status, kept) in [(101, true), (200, false), (426, false)] {
        let mut answer = Response::builder()
            .status(status)
            .version(Version::HTTP_10)
            .header("connection", "upgrade, x-a")
            .header("upgrade", "websocket")
            .header("x-a", "1")
            .header("sec-websocket-accept", "abc")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        for_client(&mut answer);
        assert_eq!(answer.headers.contains_key("upgrade"), kept, "{status}");
        assert_eq!(answer.headers.contains_key("connection"), kept, "{status}");
        assert!(!answer.headers.contains_key("x-a"));
        assert!(answer.headers.contains_key("sec-websocket-accept"));
        assert_eq!(answer.version, Version::HTTP_11);
    }
}

/// Names that matter here, and some that do not.
fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "upgrade",
        "transfer-encoding",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-port",
        "x-forwarded-host",
        "forwarded",
        "expect",
        "via",
        "host",
        "cookie",
        "x-other",
        "x-secret",
        "x-request-id",
        "http2-settings",
    ])
}

fn value() -> impl Strategy<Value = String> {
    "(close|keep-alive|upgrade|x-secret|host|x-forwarded-for|te|trailers|[ -~]{0,8})(, ?[a-z-]{0,12}){0,2}"
}

proptest! {
    #[test]
    fn whatever_comes_the_pod_gets_what_we_say(
        fields in prop::collection::vec((name(), value()), 0..12),
    ) {
        let mut head = head(Version::HTTP_11, "/", &[]);
        for (name, value) in &fields {
            head.headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let named: Vec<String> = fields.iter().filter(|(name, _)| *name == "connection")
            .flat_map(|(_, value)| value.split(',').map(|token| token.trim().to_lowercase()))
            .collect();
        let (host, id) = (HeaderValue::from_static("shop"), HeaderValue::from_static("id"));
        let forwarded_for = for_pod(&mut head, &host, &id, &peer(), None);
        let headers = &head.headers;
        for gone in ["connection", "keep-alive", "proxy-connection", "proxy-authorization",
            "upgrade", "transfer-encoding", "forwarded", "expect", "http2-settings"] {
            prop_assert!(!headers.contains_key(gone), "{}", gone);
        }
        let only = |name: &str, value: &str| {
            headers.get_all(name).iter().collect::<Vec<_>>() == [value]
        };
        prop_assert!(only("host", "shop") && only("x-request-id", "id"));
        prop_assert!(only("x-forwarded-proto", "http") && only("x-forwarded-port", "8080"));
        prop_assert!(only("x-forwarded-host", "shop"));
        prop_assert_eq!(headers.get_all("x-forwarded-for").iter().collect::<Vec<_>>(), [&forwarded_for]);
        prop_assert!(forwarded_for.as_bytes().ends_with(b"10.0.0.1"));
        prop_assert!(headers.get_all(header::TE).iter().all(|te| te == "trailers"));
        let secret = named.iter().any(|token| token == "x-secret");
        prop_assert!(!(secret && headers.contains_key("x-secret")));
    }
}
