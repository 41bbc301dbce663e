use proptest::prelude::*;

use super::{Decision, DeployBranches, decide, parse_updates};

const ZERO: &str = "0000000000000000000000000000000000000000";
const ONE: &str = "1111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222";

/// Writes a decision in one line: `deploy main 2222` / `refuse ...` / notes after a bar.
fn decision(
    updates: &[(&str, &str, &str)],
    chosen: Option<&str>,
    existing: &[&'static str],
) -> String {
    let input: String = updates
        .iter()
        .map(|(old, new, name)| format!("{old} {new} {name}\n"))
        .collect();
    let chosen = chosen.map(|name| name.parse().unwrap());
    let branches = DeployBranches {
        chosen,
        existing: existing.to_vec(),
    };
    match decide(&parse_updates(&input).unwrap(), &branches) {
        Decision::Refuse { reason } => format!("refuse {}", reason.lines().next().unwrap()),
        Decision::Accept { deploy, notes } => {
            let deploy = deploy.map_or("store".into(), |deploy| {
                format!("deploy {} {}", deploy.branch, &deploy.new.as_str()[..4])
            });
            [vec![deploy], notes].concat().join(" | ")
        }
    }
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "a table, which reads best in one piece"
)]
fn pushes_and_what_becomes_of_them() {
    let kept = "is the branch that deploys and cannot be deleted.";
    for (updates, chosen, existing, expected) in [
        // A first push, a later one, a forced one: all the same to us.
        (
            vec![(ZERO, ONE, "refs/heads/main")],
            None,
            vec![],
            "deploy main 1111".to_owned(),
        ),
        (
            vec![(ONE, TWO, "refs/heads/main")],
            None,
            vec!["main"],
            "deploy main 2222".into(),
        ),
        (
            vec![(ONE, TWO, "refs/heads/master")],
            None,
            vec!["main"],
            "deploy master 2222".into(),
        ),
        // Only the chosen branch deploys, once one was chosen.
        (
            vec![(ONE, TWO, "refs/heads/main")],
            Some("live"),
            vec!["main"],
            "store | main stored, not deployed: push to live to deploy".into(),
        ),
        (
            vec![(ONE, TWO, "refs/heads/live")],
            Some("live"),
            vec![],
            "deploy live 2222".into(),
        ),
        // Names that only look like the deploy branch.
        (
            vec![(ZERO, ONE, "refs/heads/feature/main")],
            None,
            vec![],
            "store | feature/main stored, not deployed: push to main to deploy".into(),
        ),
        (
            vec![(ZERO, ONE, "refs/tags/main")],
            None,
            vec![],
            "store | main stored, not deployed: push to main to deploy".into(),
        ),
        (
            vec![(ZERO, ONE, "refs/notes/commits")],
            None,
            vec![],
            "store | refs/notes/commits stored, not deployed: push to main to deploy".into(),
        ),
        // Several at once.
        (
            vec![(ZERO, ONE, "refs/tags/v1"), (ZERO, TWO, "refs/heads/main")],
            None,
            vec![],
            "deploy main 2222 | v1 stored, not deployed".into(),
        ),
        (
            vec![
                (ZERO, ONE, "refs/heads/master"),
                (ZERO, TWO, "refs/heads/main"),
            ],
            None,
            vec![],
            "deploy main 2222 | Deploying main; the other branch is stored only".into(),
        ),
        (
            ["a", "b", "c", "d", "e", "f", "g"]
                .map(|b| (ZERO, ONE, b))
                .to_vec(),
            None,
            vec![],
            "store | a, b, c, d, e and 2 more stored, not deployed: push to main to deploy".into(),
        ),
        // Deletes.
        (
            vec![(ONE, ZERO, "refs/heads/topic")],
            None,
            vec!["main"],
            "store".into(),
        ),
        (
            vec![(ONE, ZERO, "refs/tags/v1")],
            None,
            vec!["main"],
            "store".into(),
        ),
        (
            vec![(ONE, ZERO, "refs/heads/main")],
            None,
            vec!["main"],
            format!("refuse main {kept}"),
        ),
        (
            vec![(ONE, ZERO, "refs/heads/live")],
            Some("live"),
            vec!["main"],
            format!("refuse live {kept}"),
        ),
        (
            vec![(ONE, ZERO, "refs/heads/main")],
            Some("live"),
            vec!["main"],
            "store".into(),
        ),
        // From master to main: the old one may go once the new one is there, also in one push.
        (
            vec![(ONE, ZERO, "refs/heads/master")],
            None,
            vec!["main", "master"],
            "store".into(),
        ),
        (
            vec![
                (ONE, ZERO, "refs/heads/master"),
                (ZERO, ONE, "refs/heads/main"),
            ],
            None,
            vec!["master"],
            "deploy main 1111".into(),
        ),
        (
            vec![
                (ONE, ZERO, "refs/heads/master"),
                (ONE, ZERO, "refs/heads/main"),
            ],
            None,
            vec!["main", "master"],
            format!("refuse master {kept}"),
        ),
        // A refusal of one ref refuses the push.
        (
            vec![
                (ZERO, ONE, "refs/heads/topic"),
                (ONE, ZERO, "refs/heads/main"),
            ],
            None,
            vec!["main"],
            format!("refuse main {kept}"),
        ),
        (vec![], None, vec![], "store".into()),
    ] {
        assert_eq!(
            decision(&updates, chosen, &existing),
            expected,
            "{updates:?} {chosen:?}"
        );
    }
}

#[test]
fn what_git_never_sends_is_an_error() {
    for input in [
        "x",
        "\n",
        "1 2 refs/heads/main",
        &format!("{ONE} {TWO}"),
        &format!("{ONE}  {TWO} r"),
    ] {
        assert!(parse_updates(input).is_err(), "{input:?}");
    }
    let many = format!("{ZERO} {ONE} refs/heads/x\n").repeat(10_001);
    assert!(
        parse_updates(&many)
            .unwrap_err()
            .contains("push them in parts")
    );
}

proptest! {
    #[test]
    fn no_input_panics(input in "[ 0-9a-f\nrefs/heads]{0,200}") {
        if let Ok(updates) = parse_updates(&input) {
            decide(&updates, &DeployBranches { chosen: None, existing: vec![] });
        }
    }
}
