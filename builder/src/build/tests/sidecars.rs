use std::process::{Command, Stdio};

use super::harness::Harness;

/// Puts an image of one file into a registry, from where the engine forgets it.
fn publish(name: &str, content: &str) {
    let mut layer = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o755);
    layer
        .append_data(&mut header, "tool", content.as_bytes())
        .unwrap();
    let mut import = Command::new("docker")
        .args(["import", "--change", "CMD [\"/tool\", \"-v\"]", "-", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = import.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, &layer.into_inner().unwrap()).unwrap();
    drop(input);
    assert!(import.wait().unwrap().success());
    for words in [["push", name], ["rmi", name]] {
        let output = Command::new("docker").args(words).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {errors}");
    }
}

#[test]
fn an_image_from_elsewhere_is_copied_and_stays_what_it_was() {
    let harness = Harness::get();
    let name = format!("{}/tool:1", harness.another_registry());
    publish(&name, "one");
    let mut app = harness.app(Some("hello-docker"));
    let sidecar = |image: &str, types: &str| {
        format!(
            r#"{{"sidecars": [{{"name": "tool", "types": ["{types}"], "image": "{image}"}},
                             {{"name": "own", "types": ["web"], "command": "bin/own"}}]}}"#
        )
    };
    app.write("app.json", &sidecar(&name, "web"));
    let (first, output) = app.built();
    let [tool, own] = &first.sidecars.containers[..] else {
        panic!("{:?}", first.sidecars)
    };
    assert!(
        output.contains(&format!("-----> Pinning {name}")),
        "{output}"
    );
    assert_eq!(tool.image_name.as_deref(), Some(name.as_str()));
    assert_eq!(tool.command_line, "/tool -v");
    assert_eq!(tool.image.registry, first.image.registry);
    assert_eq!(tool.image.repository, first.image.repository);
    assert_ne!(tool.image.digest, first.image.digest);
    assert_eq!((&own.image, &own.image_name), (&first.image, &None));
    // The tag moves; what was built before is there as it was.
    publish(&name, "two");
    let (second, _) = app.built();
    let moved = &second.sidecars.containers[0];
    assert_ne!(moved.image.digest, tool.image.digest);
    assert_ne!(app.layers(&moved.image), app.layers(&tool.image));

    let missing = name.replace(":1", ":none");
    app.write("app.json", &sidecar(&missing, "web"));
    let (reason, _) = app.refused();
    let wanted = format!("cannot pull the sidecar image {missing}: ");
    assert!(reason.starts_with(&wanted), "{reason}");
    app.write("app.json", &sidecar(&name, "clock"));
    let (reason, _) = app.refused();
    assert!(
        reason.contains("the app has no process type clock; it has web"),
        "{reason}"
    );
}
