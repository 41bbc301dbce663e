use std::path::{Component, Path};

use proptest::prelude::*;

use super::*;

#[test]
fn repositories() {
    let long = "a".repeat(255);
    for good in [
        "a",
        "apps/shop",
        "a.b/c_d/e__f/g---h",
        "0/1",
        "library/ubuntu",
        &long,
    ] {
        assert_eq!(good.parse::<Repository>().expect(good).as_str(), good);
    }
    let too_long = "a".repeat(256);
    for (bad, why) in [
        ("", ParseError::RepositoryLength),
        (too_long.as_str(), ParseError::RepositoryLength),
        ("..", ParseError::RepositoryGrammar),
        ("a/../b", ParseError::RepositoryGrammar),
        ("a//b", ParseError::RepositoryGrammar),
        ("/a", ParseError::RepositoryGrammar),
        ("a/", ParseError::RepositoryGrammar),
        ("A", ParseError::RepositoryGrammar),
        ("_blobs", ParseError::RepositoryGrammar),
        ("a/_tags/b", ParseError::RepositoryGrammar),
        ("a..b", ParseError::RepositoryGrammar),
        ("a___b", ParseError::RepositoryGrammar),
        ("a.-b", ParseError::RepositoryGrammar),
        ("a-", ParseError::RepositoryGrammar),
        ("a b", ParseError::RepositoryGrammar),
        ("a\0b", ParseError::RepositoryGrammar),
        ("ä", ParseError::RepositoryGrammar),
        ("a\\b", ParseError::RepositoryGrammar),
    ] {
        assert_eq!(bad.parse::<Repository>(), Err(why), "{bad:?}");
    }
}

#[test]
fn references() {
    let long = "x".repeat(128);
    for good in ["latest", "v1.2.3", "_x", "A-b_c.D", "1", &long] {
        assert!(
            matches!(good.parse(), Ok(Reference::Tag(tag)) if tag.as_str() == good),
            "{good}"
        );
    }
    let digest = format!("sha256:{}", "0a".repeat(32));
    assert!(matches!(digest.parse(), Ok(Reference::Digest(d)) if d.to_string() == digest));
    let too_long = "x".repeat(129);
    for (bad, why) in [
        ("", ParseError::Tag),
        (too_long.as_str(), ParseError::Tag),
        (".", ParseError::Tag),
        ("..", ParseError::Tag),
        ("-x", ParseError::Tag),
        ("a/b", ParseError::Tag),
        ("a\0", ParseError::Tag),
        ("é", ParseError::Tag),
        ("sha512:00", ParseError::DigestAlgorithm),
        (":", ParseError::DigestAlgorithm),
        ("sha256:", ParseError::DigestHex),
        ("sha256:../../../etc/passwd", ParseError::DigestHex),
        (
            &format!("sha256:{}", "0A".repeat(32)),
            ParseError::DigestHex,
        ),
        (
            &format!("sha256:{}", "00".repeat(33)),
            ParseError::DigestHex,
        ),
    ] {
        assert_eq!(bad.parse::<Reference>(), Err(why), "{bad:?}");
    }
}

#[test]
fn uploads() {
    let id = UploadId::random();
    assert_eq!(id.to_string().parse(), Ok(id));
    for bad in [
        "",
        "x",
        "..",
        &id.to_string().to_uppercase(),
        &format!("{{{id}}}"),
    ] {
        assert_eq!(bad.parse::<UploadId>(), Err(ParseError::Upload), "{bad:?}");
    }
}

/// Would this text, used as a path, stay below the directory it is joined to?
fn stays_below(text: &str) -> bool {
    Path::new(text)
        .components()
        .all(|c| matches!(c, Component::Normal(_)))
        && !text.contains('\0')
        && text
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.'))
}

proptest! {
    #[test]
    fn repository_agrees_with_the_specification(text in "[a-z0-9._/A-]{0,24}") {
        // The specification's expression, taken apart by hand: a component alternates words and
        // joints, and begins and ends with a word.
        let expected = !text.is_empty() && text.split('/').all(|component| {
            let mut rest = component;
            loop {
                let word = rest.len()
                    - rest.trim_start_matches(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).len();
                if word == 0 { return false }
                rest = &rest[word..];
                if rest.is_empty() { return true }
                let dashes = rest.len() - rest.trim_start_matches('-').len();
                let joint = if dashes > 0 { dashes }
                    else if rest.starts_with("__") { 2 }
                    else if rest.starts_with(['.', '_']) { 1 }
                    else { return false };
                rest = &rest[joint..];
            }
        });
        prop_assert_eq!(text.parse::<Repository>().is_ok(), expected, "{}", text);
    }

    #[test]
    fn what_parses_is_a_safe_path(text in "(\\.|/|[a-z_-]|%2e|\\PC){0,12}") {
        if text.parse::<Repository>().is_ok() {
            prop_assert!(stays_below(&text));
            prop_assert!(text.split('/').all(|part| !part.starts_with('_')));
        }
        if text.parse::<Tag>().is_ok() {
            prop_assert!(stays_below(&text) && !text.contains('/'));
        }
    }

    #[test]
    fn digests_survive_text(bytes in any::<[u8; 32]>()) {
        let digest = Digest(bytes);
        prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        prop_assert_eq!(Digest::from_hex(&digest.hex()), Ok(digest));
    }
}
