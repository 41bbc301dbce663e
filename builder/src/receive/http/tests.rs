use axum::http::{HeaderMap, header};
use fairway_api::build_orders::GitCredential;

use super::{Service, parse_basic, parse_service};

fn basic(header: &str) -> Option<(String, String)> {
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, header.parse().unwrap())]);
    parse_basic(&headers).map(|credential| match credential {
        GitCredential::Basic { username, password } => (username, password.expose().to_owned()),
        GitCredential::Key { .. } => unreachable!("no key comes over HTTP"),
    })
}

#[test]
fn credentials() {
    let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
    for (header, expected) in [
        ("Basic YTpi", pair("a", "b")),
        ("basic YTpi", pair("a", "b")),
        // "a:b:c": a password may have colons.
        ("Basic YTpiOmM=", pair("a", "b:c")),
        ("Basic OmI=", pair("", "b")),
        // "token:" as many clients write it.
        ("Basic dG9rZW46", pair("token", "token")),
        ("Basic Og==", None),
        ("Basic YQ==", None),
        ("Basic !!!", None),
        ("Basic", None),
        ("Bearer YTpi", None),
    ] {
        assert_eq!(basic(header), expected, "{header}");
    }
    assert!(parse_basic(&HeaderMap::new()).is_none());
}

#[test]
fn services() {
    for (query, expected) in [
        ("service=git-upload-pack", Ok(Service::UploadPack)),
        ("service=git-receive-pack", Ok(Service::ReceivePack)),
        ("x=1&service=git%2Dupload-pack", Ok(Service::UploadPack)),
        ("service=git-upload-archive", Err("The service must be")),
        ("service=", Err("The service must be")),
        ("", Err("The dumb HTTP protocol is not served")),
    ] {
        match (parse_service(query), expected) {
            (Ok(service), Ok(expected)) => assert_eq!(service, expected, "{query}"),
            (Err(problem), Err(start)) => assert!(problem.1.starts_with(start), "{query}"),
            (given, _) => panic!("{query}: {:?}", given.map_err(|problem| problem.1)),
        }
    }
}
