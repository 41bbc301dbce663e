use super::harness::Harness;

#[test]
fn a_python_app_is_built_and_a_change_of_code_installs_nothing() {
    let mut app = Harness::get().app(Some("hello-python"));
    let (first, output) = app.built();
    assert!(output.contains("Installing the requirements with pip"), "{output}");
    assert_eq!(first.processes["web"].command_line, "python app.py");
    let told = app.run(&first.image, &["python", "-c", "import itsdangerous; print('there')"]);
    assert_eq!(told, "there\n");
    app.write("new.txt", "a change of code");
    let (second, output) = app.built();
    assert!(output.contains("using what is installed"), "{output}");
    assert!(!output.contains("Installing"), "{output}");
    let (one, two) = (app.layers(&first.image), app.layers(&second.image));
    let new = two.iter().filter(|layer| !one.contains(layer)).count();
    assert_eq!((new, two.len()), (1, one.len()));
}
