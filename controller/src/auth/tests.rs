use base64::{Engine, engine::general_purpose::STANDARD};
use fairway_api::{ids::UserId, secret::Secret};

use super::{Presented, new_token};
use crate::store::columns::now;

fn basic(user: &str, password: &str) -> Option<Presented> {
    Some(Presented::Basic {
        username: user.into(),
        password: Secret::new(password),
    })
}

#[test]
fn authorization_headers_are_read_as_clients_write_them() {
    let encode = |text: &str| format!("Basic {}", STANDARD.encode(text));
    let bearer = |token| Some(Presented::Bearer(Secret::new(token)));
    let table = [
        ("Bearer abc".to_owned(), bearer("abc")),
        ("BEARER  abc ".to_owned(), bearer("abc")),
        ("Bearer".to_owned(), None),
        ("Bearer ".to_owned(), None),
        (String::new(), None),
        ("Token abc".to_owned(), None),
        (encode("user:pass"), basic("user", "pass")),
        (encode(":pass:word"), basic("", "pass:word")),
        (encode("user"), None),
        ("Basic %%%".to_owned(), None),
        (
            format!("Basic {}", STANDARD.encode([0xff, b':', 0xff])),
            None,
        ),
    ];
    for (header, expected) in table {
        assert_eq!(Presented::parse(&header), expected, "{header}");
    }
}

#[test]
fn a_token_is_found_where_clients_put_it() {
    for (user, password, token) in [("me", "abc", "abc"), ("abc", "", "abc"), ("", "abc", "abc")] {
        assert_eq!(basic(user, password).unwrap().token(), token);
    }
}

#[test]
fn tokens_are_long_known_by_their_beginning_and_kept_as_a_hash() {
    let (secret, row) = new_token(UserId::from_u128(1), None, None, now());
    let (other, _) = new_token(UserId::from_u128(1), None, None, now());
    assert_ne!(secret, other);
    assert!(secret.expose().starts_with("fw_") && secret.expose().len() == 46);
    assert_eq!(row.hash, super::hash_hex(secret.expose()));
    assert!(!format!("{row:?}").contains(secret.expose()));
}
