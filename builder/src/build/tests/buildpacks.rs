use super::harness::{Harness, TestApp};

/// Builds once more after a change of code: nothing is installed, one layer is new.
fn check_cached(app: &mut TestApp, first: &fairway_api::build_orders::BuiltImage, used: &str) {
    app.write("new.txt", "a change of code");
    let (second, output) = app.built();
    assert!(output.contains(used), "{output}");
    assert!(!output.contains("Installing"), "{output}");
    let (one, two) = (app.layers(&first.image), app.layers(&second.image));
    let new = two.iter().filter(|layer| !one.contains(layer)).count();
    assert_eq!((new, two.len()), (1, one.len()), "{output}");
    // The same source again is the same image, byte for byte.
    let (third, _) = app.built();
    assert_eq!(third.image.digest, second.image.digest);
}

#[test]
fn a_python_app_is_built_and_a_change_of_code_installs_nothing() {
    let mut app = Harness::get().app(Some("hello-python"));
    let (first, output) = app.built();
    assert!(output.contains("-----> Python 3"), "{output}");
    assert!(
        output.contains("Installing the requirements with pip"),
        "{output}"
    );
    assert_eq!(first.processes["web"].command_line, "python app.py");
    assert_eq!(first.built_with, "Python, Procfile");
    let told = app.run(
        &first.image,
        &["python", "-c", "import itsdangerous; print('there')"],
    );
    assert_eq!(told, "there\n");
    check_cached(&mut app, &first, "using what is installed");
    app.write("requirements.txt", "itsdangerous==2.1.2\n");
    let (_, output) = app.built();
    assert!(
        output.contains("Installing the requirements with pip"),
        "{output}"
    );
}

#[test]
fn a_node_app_is_built_and_a_change_of_code_installs_nothing() {
    let mut app = Harness::get().app(Some("hello-node"));
    let (first, output) = app.built();
    assert!(output.contains("Fetched Node.js "), "{output}");
    assert!(
        output.contains("Installing the dependencies with npm ci"),
        "{output}"
    );
    assert_eq!(first.processes["web"].command_line, "node server.js");
    let told = app.run(&first.image, &["node", "-p", "require('ms')(60000)"]);
    assert_eq!(told, "1m\n");
    check_cached(&mut app, &first, "using what is installed");
}

/// Starts the site in the container and asks it some things.
const ASK_SITE: &str = "PORT=8123 /cnb/process/web & python3 - <<'PYTHON'
import time, urllib.request as u
for attempt in range(200):
    try:
        u.urlopen('http://127.0.0.1:8123/'); break
    except OSError:
        time.sleep(0.05)
def ask(path, method='GET', **headers):
    try:
        answer = u.urlopen(u.Request('http://127.0.0.1:8123' + path, headers=headers, method=method))
    except u.HTTPError as error:
        answer = error
    print(path, answer.status, answer.headers.get_content_type(), len(answer.read()) > 0)
ask('/'); ask('/style.css'); ask('/', 'HEAD'); ask('/style.css', Range='bytes=0-3')
ask('/none'); ask('/../../etc/passwd'); ask('/.git/config')
PYTHON
kill $!
";

#[test]
fn a_static_site_is_served() {
    let mut app = Harness::get().app(Some("hello-static"));
    let (built, _) = app.built();
    assert_eq!(built.processes["web"].command_line, "serve-static");
    let told = app.run(&built.image, &["bash", "-c", ASK_SITE]);
    let want = "/ 200 text/html True\n/style.css 200 text/css True\n/ 200 text/html False\n\
                /style.css 206 text/css True\n/none 404 text/html True\n\
                /../../etc/passwd 400 text/html True\n/.git/config 404 text/html True\n";
    assert_eq!(told, want);
}

#[test]
fn a_procfile_alone_is_enough() {
    let mut app = Harness::get().app(None);
    app.write("run.sh", "echo \"started with $GREETING by $0\"\n");
    app.write(
        "Procfile",
        "web: sh run.sh \"a b\" \\\\ c\nrelease: echo 'it is' ready\n",
    );
    let app_json =
        r#"{"stop": {"web": {"signal": "SIGINT"}}, "formation": {"web": {"quantity": 2}}}"#;
    app.write("app.json", app_json);
    app.env.insert("GREETING".into(), "only for builds".into());
    let (built, output) = app.built();
    assert!(
        output.contains(
            "-----> Discovering process types\n       Procfile declares types -> release, web\n"
        ),
        "{output}"
    );
    assert_eq!(
        built.processes["web"].command_line,
        "sh run.sh \"a b\" \\\\ c"
    );
    assert_eq!(
        built.processes["web"].stop.as_ref().unwrap().signal,
        "SIGINT"
    );
    assert_eq!(built.formation["web"].quantity, 2);
    assert_eq!(app.run(&built.image, &["web"]), "started with  by run.sh\n");
    assert_eq!(app.run(&built.image, &["release"]), "it is ready\n");
    assert_eq!(
        app.run(&built.image, &["sh", "-c", "echo $PWD"]),
        "/workspace\n"
    );
}
