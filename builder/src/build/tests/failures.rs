use super::harness::{Harness, TestApp};

/// An app whose "requirements" run this program: pip asks a local package for its metadata.
fn running(app: TestApp, program: &str) -> TestApp {
    app.write("requirements.txt", "./local\n");
    app.write("local/setup.py", program);
    app.write("Procfile", "web: true\n");
    app
}

#[test]
fn nobody_detects_an_app_of_unknown_kind() {
    let mut app = Harness::get().app(None);
    app.write("main.cob", "DISPLAY 'HELLO'.");
    let (reason, output) = app.refused();
    assert!(
        reason.starts_with("no buildpack builds this app"),
        "{reason}"
    );
    assert!(
        reason.contains("Tried: Node.js, Python, Procfile, Static site"),
        "{reason}"
    );
    assert!(
        output.contains("Python: there is no requirements.txt"),
        "{output}"
    );
}

#[test]
fn an_app_without_a_start_command_is_refused() {
    let mut app = Harness::get().app(None);
    app.write("requirements.txt", "");
    let (reason, _) = app.refused();
    assert!(
        reason.contains("add a Procfile with a line such as"),
        "{reason}"
    );
    let mut app = Harness::get().app(None);
    app.write(
        "Dockerfile",
        "FROM fairway/run:bookworm\nCMD []\nENTRYPOINT []\n",
    );
    let (reason, _) = app.refused();
    assert!(
        reason.contains("the image has no command and there is no Procfile"),
        "{reason}"
    );
}

#[test]
fn a_requirement_that_does_not_exist_is_named() {
    let mut app = Harness::get().app(Some("hello-python"));
    app.write("requirements.txt", "no-such-package-of-fairway==9\n");
    let (reason, output) = app.refused();
    assert_eq!(
        reason,
        "the Python buildpack exited with code 1; the output of the build says why"
    );
    assert!(
        output.contains("No matching distribution found"),
        "{output}"
    );
    // And the next build is not spoilt by it.
    app.write("requirements.txt", "");
    app.write("app.py", "print('hello')");
    app.built();
}

#[test]
fn files_with_mistakes_are_refused_before_anything_is_built() {
    for (path, text, want) in [
        ("Procfile", "web python app.py", "Procfile line 1"),
        ("Procfile", "", "declares no process type"),
        (
            "app.json",
            "{\n  \"formation\": 3\n}",
            "app.json line 2, column 16",
        ),
    ] {
        let mut app = Harness::get().app(Some("hello-python"));
        app.write(path, text);
        let (reason, output) = app.refused();
        assert!(reason.contains(want), "{reason}");
        assert_eq!(output, "");
    }
}

#[test]
fn what_a_killed_build_hit_is_named() {
    let harness = Harness::get();
    let check = |app: TestApp, program: &str, want: &str| {
        let (reason, output) = running(app, program).refused();
        assert!(reason.contains(want), "{reason}\n{output}");
    };
    check(
        harness.app_limited(|limits| limits.memory_bytes = 128 << 20),
        "x = bytearray(400 << 20)\n",
        "ran out of memory: the limit for builds is 134 MB",
    );
    check(
        harness.app_limited(|limits| limits.pids = 40),
        "import os, time\nfor n in range(60):\n    if os.fork() == 0: time.sleep(3)\n",
        "more than 40 processes",
    );
    check(
        harness.app_limited(|limits| limits.disk_bytes = 64 << 20),
        "import time\nfor n in range(10):\n    open(f'/tmp/{n}', 'wb').write(bytes(30 << 20))\n\
         time.sleep(60)\n",
        "more disk space than the limit of 67 MB",
    );
    check(
        harness.app_limited(|limits| limits.time_secs = 4),
        "import time\ntime.sleep(60)\n",
        "took longer than the limit of 1 minutes",
    );
}

#[test]
fn a_build_has_no_rights_and_no_secrets() {
    let program = "\
import os, sys
status = open('/proc/self/status').read()
facts = [
    os.getuid() == 0,
    'CapEff:\\t0000000000000000' in status,
    'NoNewPrivs:\\t1' in status,
    os.path.exists('/var/run/docker.sock'),
    os.access('/', os.W_OK) or os.access('/cnb', os.W_OK) or os.access('/platform', os.W_OK),
    sorted(name for name in os.environ if 'TOKEN' in name or 'SECRET' in name or 'PASSWORD' in name),
]
sys.exit(f'FACTS {facts}')
";
    let (_, output) = running(Harness::get().app(None), program).refused();
    assert!(
        output.contains("FACTS [False, True, True, False, False, []]"),
        "{output}"
    );
}

#[test]
fn a_dockerfile_that_fails_names_the_step() {
    const FROM: &str = "FROM fairway/run:bookworm\n";
    for (dockerfile, want) in [
        (
            format!("{FROM}RUN echo told && exit 3\n"),
            "\"Step 2/2 : RUN echo told && exit 3\" exited with code 3",
        ),
        (
            format!("{FROM}COPY missing .\n"),
            "\"Step 2/2 : COPY missing .\" failed: COPY failed: file not found",
        ),
        ("FORM x\n".to_owned(), "unknown instruction: FORM"),
        (
            "FROM 127.0.0.1:9/nothing\n".to_owned(),
            "\"Step 1/1 : FROM 127.0.0.1:9/nothing\" failed",
        ),
    ] {
        let mut app = Harness::get().app(None);
        app.write("Dockerfile", &dockerfile);
        let (reason, output) = app.refused();
        assert!(reason.contains(want), "{reason}\n{output}");
    }
}

#[test]
fn what_a_killed_dockerfile_build_hit_is_named() {
    let harness = Harness::get();
    let check = |mut app: TestApp, program: &str, want: &str| {
        let run = format!("FROM fairway/run:bookworm\nRUN python3 -c \"{program}\"\n");
        app.write("Dockerfile", &run);
        let (reason, output) = app.refused();
        assert!(reason.starts_with("\"Step 2/2 : RUN python3"), "{reason}");
        assert!(reason.contains(want), "{reason}\n{output}");
    };
    check(
        harness.app_limited(|limits| limits.memory_bytes = 64 << 20),
        "x = bytearray(300 << 20)",
        "ran out of memory: the limit for builds is 67 MB",
    );
    check(
        harness.app_limited(|limits| limits.pids = 40),
        "import os, time; [os.fork() or time.sleep(3) for n in range(60)]",
        "started more than 40 processes",
    );
    check(
        harness.app_limited(|limits| limits.disk_bytes = 64 << 20),
        "import time; open('/tmp/big', 'wb').write(bytes(100 << 20)); time.sleep(60)",
        "used more disk space than the limit of 67 MB",
    );
}

#[test]
fn a_dockerfile_build_may_have_more_memory_than_32_bits_can_say() {
    let mut app = Harness::get().app_limited(|limits| limits.memory_bytes = 5 << 30);
    let limit = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max";
    app.write(
        "Dockerfile",
        &format!("FROM fairway/run:bookworm\nRUN cat {limit} 2>/dev/null; exit 1\n"),
    );
    let (_, output) = app.refused();
    assert!(output.contains("5368709120"), "{output}");
}

#[test]
fn a_cancelled_build_ends_at_once() {
    let mut app = running(Harness::get().app(None), "import time\ntime.sleep(600)\n");
    let (cancel, output) = (app.cancel.clone(), app.output.clone());
    let canceller = std::thread::spawn(move || {
        while !output.text().contains("Installing the requirements") {
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
        cancel.cancel();
    });
    let (reason, _) = app.refused();
    assert_eq!(reason, "the build was cancelled");
    canceller.join().unwrap();
}
