use fairway_scheduler::snapshot::Failure;

use super::{failed, launching, megabytes, release_phase, released, superseded};
use crate::deploy::spec::tests::image;

#[test]
fn the_start_of_a_release_names_its_size_and_its_release_command() {
    assert_eq!(
        launching(&image(&["web", "worker"]), 7),
        "\n-----> Compressing...\n       Done: 12.0M\n-----> Launching...\n"
    );
    let phased = launching(&image(&["release", "web"]), 7);
    assert!(phased.contains("Release command declared: v7 goes live once it has succeeded\n"));
}

#[test]
fn the_end_of_a_release_has_the_url_on_its_own_line() {
    let text = released(7, "http://shop.localhost:8080");
    assert!(text.contains("       Released v7\n       http://shop.localhost:8080 deployed to"));
    assert!(text.ends_with("\nVerifying deploy... done.\n"));
    let lines = ["migrated".to_owned()];
    assert!(release_phase(&lines).ends_with("succeeded\n       migrated\n"));
}

#[test]
fn a_failure_says_what_why_and_what_to_do() {
    let failure = Failure {
        reason: "web.1 exited with code 1".into(),
        lines: vec!["KeyError: 'DB'".into()],
    };
    let text = failed(7, &failure, Some(6));
    assert!(
        text.starts_with(" !     Release v7 failed: web.1 exited with code 1\n"),
        "{text}"
    );
    assert!(text.contains(" !       KeyError: 'DB'\n"), "{text}");
    assert!(text.contains(" !     v6 keeps running"), "{text}");
    assert!(failed(1, &failure, None).contains("no earlier release"));
    assert!(superseded(7, 8).contains("v8"));
    for line in text.lines() {
        assert!(line.starts_with(" !"), "{line:?}");
    }
}

#[test]
fn sizes_have_one_decimal() {
    for (bytes, text) in [(0, "0.0M"), (104_857, "0.0M"), (12_900_000, "12.3M")] {
        assert_eq!(megabytes(bytes), text);
    }
    assert!(megabytes(u64::MAX).ends_with('M'));
}
