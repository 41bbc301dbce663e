use std::process::Command;

use super::harness::Harness;

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_container_that_somebody_removed_is_replaced() {
    let harness = Harness::get();
    let mut app = harness.app_limited(|_| {});
    app.write("Procfile", "web: true\n");
    app.built();
    let label = format!("label=dev.fairway.instance={}", app.instance());
    let ids = docker(&["ps", "--quiet", "--filter", &label]);
    let ids: Vec<&str> = ids.split_whitespace().collect();
    assert_eq!(ids.len(), 1, "the container of the first build is kept");
    docker(&["rm", "--force", ids[0]]);
    app.built();
}

#[test]
fn a_builder_that_was_killed_leaves_nothing_behind_and_the_cache_in_order() {
    let harness = Harness::get();
    let mut app = harness.app_limited(|_| {});
    app.write("requirements.txt", "itsdangerous==2.2.0\n");
    app.write("app.py", "if __name__ == '__main__': pass\n");
    app.built();
    // A build that has begun and lent the cache, when the builder dies.
    app.write("requirements.txt", "itsdangerous==2.2.0\n# changed\n");
    app.abandon_when("Installing the requirements");
    let label = format!("label=dev.fairway.instance={}", app.instance());
    assert_ne!(docker(&["ps", "--quiet", "--filter", &label]), "");
    app.restart_builder();
    app.write("requirements.txt", "itsdangerous==2.2.0\n");
    let (built, _) = app.built();
    let told = app.run(
        &built.image,
        &["python", "-c", "import itsdangerous; print('there')"],
    );
    assert_eq!(told, "there\n");
    assert_eq!(
        docker(&["ps", "--quiet", "--filter", &label])
            .split_whitespace()
            .count(),
        1
    );
}
