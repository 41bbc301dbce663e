use super::harness::Harness;

#[test]
fn the_example_is_built_and_its_second_build_uses_the_cache() {
    let mut app = Harness::get().app(Some("hello-docker"));
    let (first, output) = app.built();
    assert!(
        output.contains("-----> Building from the Dockerfile\n"),
        "{output}"
    );
    assert!(
        output.contains("       Step 1/5 : FROM fairway/run:bookworm\n"),
        "{output}"
    );
    assert_eq!(first.exposed_port, Some(8080));
    assert_eq!(first.processes["web"].command_line, "python3 app.py");
    assert_eq!(first.built_with, "Dockerfile");
    assert!(first.size_bytes > 1_000_000);
    let (second, _) = app.built();
    assert_eq!(second.image, first.image);
    app.write("Procfile", "release: python3 -c 'print(1)'\n");
    let (third, _) = app.built();
    assert_eq!(
        third
            .processes
            .keys()
            .map(|k| k.as_str())
            .collect::<Vec<_>>(),
        ["release", "web"]
    );
    assert_eq!(app.layers(&third.image)[0], app.layers(&first.image)[0]);
}
