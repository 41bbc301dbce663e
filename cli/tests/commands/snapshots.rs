//! One snapshot per command: what it prints as text and as JSON, what it says, how it ends and
//! what it asks of the API.

use crate::person::{Person, run};

/// A file name and the command line it is about. Each runs once as it is and once with `--json`.
const COMMANDS: [&[&str]; 94] = [
    &["apps"],
    &["create", "shop"],
    &["create"],
    &["info"],
    &["info", "blog"],
    &["rename", "boutique"],
    &["open", "/login"],
    &["destroy", "--confirm", "shop"],
    &["maintenance"],
    &["maintenance:on"],
    &["maintenance:off"],
    &["deploy:branch"],
    &["deploy:branch", "production"],
    &["deploy:branch", "--default"],
    &["ps"],
    &["ps:scale"],
    &["ps:scale", "web=5", "worker=2:standard-2x"],
    &["ps:scale", "web+1"],
    &["ps:type"],
    &["ps:type", "web=Standard-2X"],
    &["ps:type", "nano"],
    &["ps:restart"],
    &["ps:restart", "web.1"],
    &["ps:stop", "run.4821"],
    &["autoscale"],
    &[
        "autoscale:set",
        "web",
        "--max",
        "20",
        "--cpu",
        "off",
        "--p95",
        "2s",
    ],
    &["autoscale:set", "worker", "--memory", "80%"],
    &["autoscale:off", "web"],
    &["metrics"],
    &["features"],
    &["features:enable", "http-session-affinity"],
    &[
        "run:detached",
        "--size",
        "nano",
        "-e",
        "A=b c",
        "--type",
        "worker",
        "rake",
        "import it",
    ],
    &["run:list"],
    &["run:list", "--job", "nightly"],
    &["run:info", "nightly.10002"],
    &["run:stop", "run.4821"],
    &["jobs"],
    &["jobs:info", "nightly"],
    &["jobs:start", "nightly"],
    &["jobs:start", "nightly", "--wait"],
    &["jobs:suspend", "nightly"],
    &["jobs:resume", "nightly"],
    &["jobs:run", "--completions", "3", "--", "bin/report"],
    &[
        "jobs:run",
        "--name",
        "import",
        "--completions",
        "10",
        "--parallelism",
        "4",
        "--retries",
        "3",
        "--timeout",
        "1h",
        "-e",
        "A=b",
        "bin/report",
        "it all",
    ],
    &["logs", "-n", "50", "-p", "web", "--source", "app"],
    &["volumes"],
    &[
        "volumes:create",
        "data",
        "--size",
        "10GB",
        "--mount",
        "worker:/data",
    ],
    &["volumes:info", "data"],
    &["volumes:mount", "data", "worker:/data:ro"],
    &["volumes:unmount", "data", "worker"],
    &["volumes:destroy", "data", "--confirm", "data"],
    &["volumes:destroy", "data", "--confirm", "date"],
    &["volumes:move", "data", "--to", "n1"],
    &["volumes:snapshot", "data"],
    &["volumes:snapshots"],
    &["config:files"],
    &["config:mount", "KEY"],
    &["config:unmount", "KEY"],
    &["config"],
    &["config:get", "GREETING"],
    &["config:set", "GREETING=hi=there", "LIMIT="],
    &["config:unset", "LIMIT", "KEY"],
    &["builds"],
    &["builds:info"],
    &["builds:cancel"],
    &["builds:cancel", crate::fixtures::BUILD_RUNNING],
    &["releases"],
    &["releases:info"],
    &["releases:info", "v7"],
    &["rollback"],
    &["rollback", "v6"],
    &["domains"],
    &["domains:add", "www.example.com"],
    &["domains:remove", "www.example.com"],
    &["network"],
    &["network:allow", "blog", "--port", "5432"],
    &["network:deny", "blog"],
    &["network:deny", "wiki"],
    &["dns"],
    &["dns:set", "db", "db.example.com"],
    &["dns:set", "cache", "10.1.2.3", "10.1.2.4"],
    &["dns:unset", "db"],
    &["keys"],
    &["authorizations"],
    &["authorizations:create", "-d", "CI", "-e", "90d"],
    &["authorizations:revoke", "CI"],
    &["keys:remove", "work"],
    &["events"],
    &["events", "--type", "exit,pod.crashed", "-p", "web"],
    &["events", "-t"],
    &["placement"],
    &[
        "placement:set",
        "web",
        "--require",
        "disk=ssd",
        "--spread",
        "zone:hard",
        "--apart",
        "web:node:hard",
        "--tolerate",
        "gpu",
        "--priority",
        "high",
    ],
    &["placement:unset", "web"],
    &["status"],
];

#[test]
fn commands_print_text_and_json() {
    let person = Person::new();
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"127\.0\.0\.1:\d+", "[server]");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for words in COMMANDS {
            let (text, json) = (told(&person, words), told_as_json(&person, words));
            insta::assert_snapshot!(file_name(words), format!("{text}{json}"));
        }
    });
}

fn file_name(words: &[&str]) -> String {
    let name = words.join("_").replace("--", "").replace('+', "plus");
    name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "-")
}

fn told(person: &Person, words: &[&str]) -> String {
    let done = run(&mut person.shop(words));
    format!(
        "$ app {}\n{}--- stderr, exit code {}\n{}--- asked\n{}\n",
        words.join(" "),
        done.stdout,
        done.code,
        done.stderr,
        person.api.take_seen()
    )
}

/// What `--json` changes. Nearly always stdout is then what the API answered last, word for word.
fn told_as_json(person: &Person, words: &[&str]) -> String {
    let text = run(&mut person.shop(words));
    let text_asked = person.api.take_seen();
    let json = run(&mut person.shop(&[&["--json"], words].concat()));
    let asked = person.api.take_seen();
    assert_eq!(
        (text.code, text.stderr, text_asked),
        (json.code, json.stderr, asked),
        "{words:?}"
    );
    let answered = serde_json::from_str(&json.stdout)
        .is_ok_and(|printed: serde_json::Value| printed == person.api.last_answer());
    if answered {
        "--- stdout with --json is the API's last answer\n".into()
    } else {
        format!("--- stdout with --json\n{}", json.stdout)
    }
}
