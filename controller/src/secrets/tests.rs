use std::{fs, os::unix::fs::PermissionsExt};

use proptest::prelude::*;

use super::{Secrets, SecretsError};

fn fresh() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("master.key");
    (dir, path)
}

#[test]
fn the_key_is_made_once_for_its_owner_only() {
    let (_dir, path) = fresh();
    let sealed = Secrets::open(&path, false).unwrap().seal(b"hello", "here");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let again = Secrets::open(&path, true).unwrap();
    assert_eq!(again.open_sealed(&sealed, "here").unwrap(), b"hello");
}

#[test]
fn a_key_that_is_missing_damaged_or_open_to_others_is_refused() {
    let (_dir, path) = fresh();
    assert!(matches!(
        Secrets::open(&path, true),
        Err(SecretsError::Missing { .. })
    ));
    assert!(!path.exists(), "no new key beside an old database");
    Secrets::open(&path, false).unwrap();
    let good = fs::read_to_string(&path).unwrap();
    for bad in [
        "",
        "nonsense",
        "0a0b0c0d short",
        &good[..good.len() - 5],
        &format!("{good}\nx y"),
    ] {
        fs::write(&path, bad).unwrap();
        assert!(
            matches!(
                Secrets::open(&path, true),
                Err(SecretsError::Damaged { .. })
            ),
            "{bad:?}"
        );
    }
    fs::write(&path, &good).unwrap();
    for mode in [0o640, 0o604, 0o644] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = Secrets::open(&path, true).unwrap_err();
        assert!(matches!(error, SecretsError::Readable { .. }));
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}

#[test]
fn a_new_key_in_front_seals_and_the_old_one_still_opens() {
    let (_dir, path) = fresh();
    let old = Secrets::open(&path, false).unwrap().seal(b"old", "here");
    let old_line = fs::read_to_string(&path).unwrap();
    let (_other_dir, other) = fresh();
    Secrets::open(&other, false).unwrap();
    let new_line = fs::read_to_string(&other).unwrap();
    fs::write(&path, format!("{new_line}{old_line}")).unwrap();
    let both = Secrets::open(&path, true).unwrap();
    assert_eq!(both.open_sealed(&old, "here").unwrap(), b"old");
    let new = both.seal(b"new", "here");
    assert!(new_line.starts_with(new.split('.').next().unwrap()));
    fs::write(&path, new_line).unwrap();
    let without = Secrets::open(&path, true).unwrap();
    assert!(matches!(
        without.open_sealed(&old, "here"),
        Err(SecretsError::UnknownKey { .. })
    ));
}

proptest! {
    #[test]
    fn what_is_sealed_opens_only_whole_and_where_it_belongs(
        text in proptest::collection::vec(any::<u8>(), 0..200),
        flip in any::<prop::sample::Index>(),
    ) {
        let (_dir, path) = fresh();
        let secrets = Secrets::open(&path, false).unwrap();
        let sealed = secrets.seal(&text, "config/a/1");
        prop_assert_eq!(secrets.open_sealed(&sealed, "config/a/1").unwrap(), text.clone());
        for elsewhere in ["config/b/1", "config/a/2", "stream/a/1", ""] {
            prop_assert!(secrets.open_sealed(&sealed, elsewhere).is_err());
        }
        let mut bytes = sealed.clone().into_bytes();
        let at = flip.index(bytes.len());
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert!(secrets.open_sealed(&changed, "config/a/1").is_err(), "{}", changed);
        prop_assert_ne!(secrets.seal(&text, "config/a/1"), sealed, "a nonce is used once");
    }

    #[test]
    fn nonsense_does_not_open_and_does_not_panic(sealed in ".{0,100}") {
        let (_dir, path) = fresh();
        prop_assert!(Secrets::open(&path, false).unwrap().open_sealed(&sealed, "x").is_err());
    }
}
