//! Git remotes: which app they mean, and what create, git:remote, rename and destroy do to them.

use crate::person::{Person, run};

fn in_repository() -> Person {
    let person = Person::new();
    person.git(&["init", "--quiet"]);
    person
}

#[test]
fn create_makes_the_remote_and_the_remote_is_the_app() {
    let person = in_repository();
    let done = run(&mut person.app(&["create", "shop"]));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(
        done.stderr.contains("git push fairway main"),
        "{}",
        done.stderr
    );
    assert_eq!(
        person.git(&["remote", "get-url", "fairway"]),
        "http://localhost:7000/shop.git\n"
    );
    let info = run(&mut person.app(&["maintenance"]));
    assert_eq!(
        (info.code, info.stdout.as_str()),
        (0, "off\n"),
        "{}",
        info.stderr
    );
    // A second app does not take the remote over.
    let done = run(&mut person.app(&["create", "blog"]));
    assert!(
        done.stderr
            .contains("stays at http://localhost:7000/shop.git"),
        "{}",
        done.stderr
    );
    run(&mut person.app(&["create", "blog", "--ssh", "-r", "staging"]));
    assert_eq!(
        person.git(&["remote", "get-url", "staging"]),
        "ssh://git@localhost:2222/blog.git\n"
    );
    let chosen = run(&mut person.app(&["info", "-r", "staging", "--json"]));
    assert!(
        chosen.stdout.contains("\"name\": \"blog\""),
        "{}",
        chosen.stderr
    );
    run(&mut person.app(&["create", "other", "--no-remote"]));
    assert_eq!(person.git(&["remote"]), "fairway\nstaging\n");
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_remote() {
    let person = in_repository();
    person.git(&["remote", "add", "fairway", "http://localhost:7000/blog.git"]);
    person.git(&["remote", "add", "staging", "http://localhost:7000/shop.git"]);
    for (words, environment, expect) in [
        (&["info"][..], None, "blog"),
        (&["info"], Some("shop"), "shop"),
        (&["info", "-a", "blog"], Some("shop"), "blog"),
        (&["info", "-r", "fairway"], Some("shop"), "blog"),
        (&["info", "-r", "staging"], None, "shop"),
    ] {
        let mut command = person.app(words);
        if let Some(app) = environment {
            command.env("FAIRWAY_APP", app);
        }
        let done = run(&mut command);
        assert!(
            done.stdout.contains(expect),
            "{words:?} {environment:?}: {}",
            done.stderr
        );
    }
}

#[test]
fn the_remote_s_server_is_the_one_that_is_asked() {
    let person = in_repository();
    person.git(&[
        "remote",
        "add",
        "fairway",
        &format!("{}/shop.git", person.api.url()),
    ]);
    // No FAIRWAY_URL: the remote names the server, and the environment's token stays away from it.
    let done = run(person
        .bare(&["info"])
        .env("FAIRWAY_TOKEN", crate::fake_api::TOKEN));
    assert_eq!(done.code, 4, "{}", done.stderr);
    assert!(
        done.stderr
            .contains(&format!("app login {}", person.api.url())),
        "{}",
        done.stderr
    );
    assert_eq!(person.api.take_seen(), "");
    let login = [
        "login",
        "--token",
        crate::fake_api::TOKEN,
        &person.api.url(),
    ];
    run(&mut person.bare(&login));
    assert_eq!(run(&mut person.bare(&["info"])).code, 0);
}

#[test]
fn several_apps_have_to_be_told_apart() {
    let person = in_repository();
    for app in ["shop", "blog"] {
        let url = format!("{}/{app}.git", person.api.url());
        person.git(&["remote", "add", &format!("to-{app}"), &url]);
    }
    let done = run(&mut person.app(&["info"]));
    assert_eq!(done.code, 2);
    assert!(
        done.stderr.contains("-r to-shop  (shop)"),
        "{}",
        done.stderr
    );
    assert!(
        done.stderr.contains("-r to-blog  (blog)"),
        "{}",
        done.stderr
    );
}

#[test]
fn git_remote_makes_and_moves_a_remote() {
    let person = in_repository();
    for (words, name, url) in [
        (
            &["git:remote", "-a", "shop"][..],
            "fairway",
            "http://localhost:7000/shop.git\n",
        ),
        (
            &["git:remote", "-a", "shop", "--ssh"],
            "fairway",
            "ssh://git@localhost:2222/shop.git\n",
        ),
        (
            &["git:remote", "-a", "blog"],
            "fairway",
            "http://localhost:7000/blog.git\n",
        ),
    ] {
        let done = run(&mut person.app(words));
        assert_eq!(done.code, 0, "{words:?}: {}", done.stderr);
        assert_eq!(person.git(&["remote", "get-url", name]), url, "{words:?}");
    }
    let staging = run(person
        .app(&["git:remote", "-r", "staging"])
        .env("FAIRWAY_APP", "shop"));
    assert_eq!(staging.code, 0, "{}", staging.stderr);
    assert_eq!(
        person.git(&["remote", "get-url", "staging"]),
        "http://localhost:7000/shop.git\n"
    );
}

#[test]
fn remotes_follow_a_rename_and_end_with_the_app() {
    let person = in_repository();
    run(&mut person.app(&["create", "shop"]));
    person.git(&["remote", "add", "origin", "https://example.com/shop.git"]);
    let done = run(&mut person.app(&["rename", "boutique"]));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(
        person.git(&["remote", "get-url", "fairway"]),
        "http://localhost:7000/boutique.git\n"
    );
    run(&mut person.app(&["git:remote", "-a", "shop"]));
    let done = run(&mut person.app(&["destroy", "--confirm", "shop"]));
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(person.git(&["remote"]), "origin\n");
}
