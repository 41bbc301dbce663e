use base64::{Engine, engine::general_purpose::STANDARD};
use proptest::prelude::*;

use super::{InvalidKey, PublicKey};

/// Made by ssh-keygen, with the fingerprints that `ssh-keygen -l` prints.
const GOOD: [(&str, &str); 5] = [
    (
        include_str!("ed25519.pub"),
        "SHA256:tiTWK08O/P25LuH4sT6gJdaFV9RGdCJ71A+JAa9e1xk",
    ),
    (
        include_str!("rsa-2048.pub"),
        "SHA256:yZcbc4s99qlgiYkFhymZKytsk6u2Lc/SJ+CknvNE4QU",
    ),
    (
        include_str!("ecdsa-256.pub"),
        "SHA256:vpTgOrczqBCAptuwRxP7xyxpU8rGnyiBhPj7YtI7Uek",
    ),
    (
        include_str!("ecdsa-384.pub"),
        "SHA256:Riz0ZP8zed/sCCH7z9a+9h+qrFN22UfQpjSa0MU/bOQ",
    ),
    (
        include_str!("ecdsa-521.pub"),
        "SHA256:XR2VZG6zWSQLi4t6Mb/F7MsUbfw9Wb5n3/B1Ljfbpss",
    ),
];

#[test]
fn good_keys_have_the_fingerprints_that_ssh_keygen_prints() {
    for (line, fingerprint) in GOOD {
        let key = PublicKey::parse(line).unwrap();
        assert_eq!(key.fingerprint, fingerprint, "{line}");
        assert!(line.starts_with(&key.key));
        let bare = PublicKey::parse(&key.key).unwrap();
        assert_eq!(
            (bare.fingerprint, bare.comment.as_str()),
            (key.fingerprint, "")
        );
    }
    assert_eq!(PublicKey::parse(GOOD[0].0).unwrap().comment, "alice@laptop");
}

#[test]
fn bad_keys_are_refused_with_what_is_wrong() {
    let ed25519 = GOOD[0].0.trim();
    let (kind, body) = ed25519.rsplit_once(' ').unwrap().0.split_once(' ').unwrap();
    let rsa = GOOD[1].0;
    let table = [
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(),
            InvalidKey::Private,
        ),
        (String::new(), InvalidKey::NoKey),
        ("hello".to_owned(), InvalidKey::NoKey),
        ("hello world".to_owned(), InvalidKey::NoKey),
        (kind.to_owned(), InvalidKey::NoKey),
        (format!("no-pty {ed25519}"), InvalidKey::NoKey),
        (format!("{kind} !!!"), InvalidKey::Damaged),
        (format!("{kind} {}", &body[..40]), InvalidKey::Damaged),
        (format!("ssh-rsa {body}"), InvalidKey::Damaged),
        (format!("{ed25519}\n{ed25519}"), InvalidKey::ManyLines),
        (
            format!("{ed25519} {}", "x".repeat(20_000)),
            InvalidKey::TooLong,
        ),
        (
            include_str!("rsa-1024.pub").to_owned(),
            InvalidKey::RsaBits(1024),
        ),
        (
            include_str!("dsa-1024.pub").to_owned(),
            InvalidKey::Unsupported("ssh-dss".into()),
        ),
        (rsa.replace("ssh-rsa ", "ssh-rsb "), InvalidKey::Damaged),
    ];
    for (line, error) in table {
        assert_eq!(PublicKey::parse(&line).unwrap_err(), error, "{line:.60}");
    }
}

proptest! {
    #[test]
    fn no_line_makes_it_panic(kind in "(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp256)",
                              blob in proptest::collection::vec(any::<u8>(), 0..200)) {
        // The right type in front, so that what comes after it is looked at.
        let mut framed = (kind.len() as u32).to_be_bytes().to_vec();
        framed.extend(kind.as_bytes());
        framed.extend(&blob);
        for blob in [blob, framed] {
            drop(PublicKey::parse(&format!("{kind} {}", STANDARD.encode(blob))));
        }
    }
}
