use proptest::prelude::*;

use super::{CommandError, Service, parse_command, parse_repository};

#[test]
fn commands_of_real_clients() {
    use Service::{ReceivePack, UploadPack};
    for (line, service, app) in [
        ("git-receive-pack 'shop.git'", ReceivePack, "shop"),
        ("git-receive-pack '/shop.git'", ReceivePack, "shop"),
        ("git-upload-pack '/shop'", UploadPack, "shop"),
        ("git upload-pack 'shop.git/'", UploadPack, "shop"),
        ("git receive-pack shop", ReceivePack, "shop"),
        ("git-upload-pack \"my-shop.git\"", UploadPack, "my-shop"),
        ("  git-upload-pack   shop.git ", UploadPack, "shop"),
    ] {
        assert_eq!(
            parse_command(line.as_bytes()),
            Ok((service, app.parse().unwrap())),
            "{line}"
        );
    }
}

#[test]
fn other_commands_are_refused() {
    for line in [
        "",
        " ",
        "ls",
        "bash -i",
        "git",
        "git-receive-pack",
        "git gc shop",
        "git-shell shop",
        "git-receive-pack shop; rm -rf /",
        "git-receive-pack shop && id",
        "scp -t /tmp",
        "git-receive-pack --upload-pack=id shop",
        "/usr/bin/git-receive-pack shop",
        "git-upload-archive 'shop.git'",
    ] {
        assert_eq!(
            parse_command(line.as_bytes()),
            Err(CommandError::NotGit),
            "{line}"
        );
    }
    assert_eq!(
        parse_command(b"git-upload-pack 'shop"),
        Err(CommandError::Quoting)
    );
    assert_eq!(
        parse_command(b"git-upload-pack \xff"),
        Err(CommandError::NotGit)
    );
    assert_eq!(parse_command(&[b'a'; 5000]), Err(CommandError::NotGit));
}

#[test]
fn paths_name_apps_and_nothing_else() {
    for path in [
        "",
        "/",
        ".git",
        "..",
        "../shop.git",
        "/../shop.git",
        "shop/../other.git",
        "./shop.git",
        "//shop.git",
        "shop.git/..",
        "~/shop.git",
        "~git/shop.git",
        "/srv/git/shop.git",
        "shop.git.git",
        "SHOP.git",
        "$(id)",
        "--help",
        "-shop",
        "shop\0.git",
        "shop\n",
    ] {
        assert!(parse_repository(path).is_err(), "{path:?}");
        let line = format!("git-upload-pack '{path}'");
        assert!(parse_command(line.as_bytes()).is_err(), "{path:?}");
    }
}

proptest! {
    #[test]
    fn no_input_panics_and_every_answer_is_a_plain_name(line in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok((_, app)) = parse_command(&line) {
            prop_assert!(!app.as_str().contains(['/', '.']));
        }
    }
}
