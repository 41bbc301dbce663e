use std::{fs, process};

use super::{
    super::{buildpacks::Buildpack, spec::LayerToml},
    *,
};

fn buildpack(api: &str) -> Buildpack {
    Buildpack {
        id: "x/y".into(),
        version: "1".into(),
        name: "Y".into(),
        homepage: String::new(),
        api: api.into(),
        clear_env: false,
        dir: String::new(),
    }
}

fn built(api: &str, launch: &str, layers: &[&str]) -> Built {
    let toml: LayerToml = toml::from_str("types = {launch = true}").unwrap();
    Built {
        buildpack: buildpack(api),
        layers: layers
            .iter()
            .map(|name| ((*name).to_owned(), toml.clone()))
            .collect(),
        launch: toml::from_str(launch).unwrap(),
        store: None,
    }
}

fn process(name: &str, command: &str) -> String {
    format!("[[processes]]\ntype = {name:?}\ncommand = {command}\n")
}

#[test]
fn processes_of_later_buildpacks_replace_those_of_earlier() {
    let dir = tempfile::tempdir().unwrap();
    let layers = Folder::open(dir.path()).unwrap();
    let first =
        process("web", "[\"a\"]") + "default = true\n" + &process("worker", "[\"b\", \"c d\"]");
    let built = [
        built("0.10", &first, &[]),
        built(
            "0.10",
            &process("web", "[\"bash\", \"-c\", \"run $PORT\"]"),
            &[],
        ),
    ];
    let launch = launch(&layers, &built).unwrap();
    let lines: Vec<_> = launch
        .processes
        .iter()
        .map(|p| p.command_line.as_str())
        .collect();
    assert_eq!(lines, ["run $PORT", "b 'c d'"]);
    assert_eq!(launch.default.as_deref(), Some("web"));
    assert_eq!(launch.processes[0].launcher, "/cnb/process/web");
}

#[test]
fn old_buildpacks_have_shell_commands() {
    let words_of = |api: &str, text: &str| {
        let built = built(api, text, &[]);
        words(&built.launch.processes[0], built.buildpack.always_direct())
    };
    let line = "[[processes]]\ntype = \"web\"\ncommand = \"a b\"\n";
    assert_eq!(words_of("0.8", line), ["bash", "-c", "a b", "bash"]);
    assert_eq!(words_of("0.8", &format!("{line}direct = true\n")), ["a b"]);
    let words = words_of("0.8", &format!("{line}args = [\"x\"]\n"));
    assert_eq!(words, ["bash", "-c", "a b \"$@\"", "bash", "x"]);
}

#[test]
fn bad_names_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let layers = Folder::open(dir.path()).unwrap();
    for name in ["../x", "a b", ".hidden"] {
        let failure =
            launch(&layers, &[built("0.10", &process(name, "[\"a\"]"), &[])]).unwrap_err();
        assert!(
            failure
                .to_string()
                .contains("not a name for a process type"),
            "{name}"
        );
    }
}

/// The scripts, run by a real shell with the paths of the image in a scratch folder.
#[test]
fn scripts_set_the_environment_and_become_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let layer = dir.path().join("x_y/dep");
    for path in ["bin", "env.launch/web", "profile.d/web"] {
        fs::create_dir_all(layer.join(path)).unwrap();
    }
    fs::write(layer.join("env.launch/GREETING.default"), "hello").unwrap();
    fs::write(layer.join("env.launch/web/ONLY_WEB"), "it's").unwrap();
    fs::write(
        layer.join("profile.d/web/a.sh"),
        "export FROM_PROFILE=\"$ONLY_WEB!\"\n",
    )
    .unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let show = process(
        "web",
        r#"["sh", "-c", "echo $GREETING $ONLY_WEB $FROM_PROFILE $PATH $1", "sh"]"#,
    );
    let built = built("0.10", &(show + "working-dir = \"/tmp\"\n"), &["dep"]);
    let launch = launch(&folder, &[built]).unwrap();
    let run = |path: &str, greeting: Option<&str>, arguments: &[&str]| {
        let (_, text) = launch.scripts.iter().find(|(p, _)| p == path).unwrap();
        let text = text.replace("/layers/x_y/", dir.path().join("x_y/").to_str().unwrap());
        let file = dir.path().join("script");
        fs::write(&file, text).unwrap();
        let shell = fs::read_to_string(&file).unwrap();
        let shell = shell
            .lines()
            .next()
            .unwrap()
            .trim_start_matches("#!")
            .to_owned();
        let mut command = process::Command::new(shell);
        command
            .arg(&file)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin");
        command.envs(greeting.map(|greeting| ("GREETING", greeting)));
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let bin = layer.join("bin").display().to_string();
    let want = format!("hello it's it's! {bin}:/usr/bin:/bin more\n");
    assert_eq!(run("cnb/process/web", None, &["more"]), want);
    assert!(run("cnb/process/web", Some("moin"), &[]).starts_with("moin it's"));
    assert_eq!(
        run("cnb/lifecycle/launcher", None, &["printenv", "GREETING"]),
        "hello\n"
    );
    assert_eq!(
        run(
            "cnb/lifecycle/launcher",
            None,
            &["--", "printenv", "ONLY_WEB"]
        ),
        ""
    );
}
