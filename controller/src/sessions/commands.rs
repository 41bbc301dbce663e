//! What a session may ask for, what its pod runs for it, and what goes on the record. Pure.

use std::collections::BTreeMap;

use fairway_api::{
    build_orders::BuiltImage,
    ids::AttachId,
    names::{ContainerName, ProcessType},
    sessions::{
        FORWARD_PORTS_MAX, NewSession, SESSION_COMMAND_BYTES_MAX, SESSION_PATH_BYTES_MAX,
        SESSION_VARIABLE, SessionPurpose, SessionWork,
    },
};

use crate::{
    deploy::spec,
    problem::{Answer, Problem},
};

/// bash where there is one.
const SHELL: &str = "command -v bash >/dev/null 2>&1 && exec bash; exec sh";
/// Says whether the target is a folder that is there (`d`) or a name to be made (`n`), so that the
/// sender can name what it sends as `cp` would; then unpacks with modes, as the pod's own user.
const UNPACK: &str = r#"if [ -d "$1" ]; then cd -- "$1" && echo d
else
  case "$1" in */) echo "$1 is no folder" >&2; exit 1;; esac
  cd -- "$(dirname -- "$1")" && echo n
fi && exec tar -xpof -"#;
/// What `TERM` may look like, in bytes.
const TERM_BYTES_MAX: usize = 64;
/// The longest program's name on the record, in bytes.
const TOLD_BYTES_MAX: usize = 64;
/// Refuses what cannot be meant.
pub(super) fn check(new: &NewSession) -> Answer<()> {
    if let Some(container) = &new.container
        && let Err(error) = container.parse::<ContainerName>()
    {
        return Err(Problem::invalid(format!("{error}.")));
    }
    match &new.purpose {
        SessionPurpose::Exec { command, term, .. } => {
            let bytes: usize = command.iter().map(|word| word.len() + 1).sum();
            let first = command.first().map(String::as_str);
            if bytes > SESSION_COMMAND_BYTES_MAX
                || first == Some("")
                || command.iter().any(|word| word.contains('\0'))
            {
                return Err(Problem::invalid(format!(
                    "A command has at most {SESSION_COMMAND_BYTES_MAX} bytes and no NUL character, \
                     and its first word is a program."
                )));
            }
            let is_term = |term: &String| {
                term.len() <= TERM_BYTES_MAX && term.bytes().all(|b| b.is_ascii_graphic())
            };
            if !term.as_ref().is_none_or(is_term) {
                return Err(Problem::invalid("TERM is no kind of terminal."));
            }
            Ok(())
        }
        SessionPurpose::Forward { ports } => {
            if (1..=FORWARD_PORTS_MAX).contains(&ports.len()) && !ports.contains(&0) {
                return Ok(());
            }
            Err(Problem::invalid(format!(
                "Name 1 to {FORWARD_PORTS_MAX} ports from 1 to 65535."
            )))
        }
        SessionPurpose::CopyFrom { path } | SessionPurpose::CopyTo { path } => {
            if (1..=SESSION_PATH_BYTES_MAX).contains(&path.len()) && !path.contains('\0') {
                return Ok(());
            }
            Err(Problem::invalid(format!(
                "A path has 1 to {SESSION_PATH_BYTES_MAX} bytes and no NUL character."
            )))
        }
    }
}

/// The image that the session's container runs as far as it is the app's own; `company` is whose
/// sidecars the pod has. Refuses a container that the pod does not have.
pub(super) fn image_of<'a>(
    new: &NewSession,
    pod: &str,
    image: Option<&'a BuiltImage>,
    company: Option<&ProcessType>,
) -> Answer<Option<&'a BuiltImage>> {
    let wanted = new.container.as_deref();
    let wanted = wanted.filter(|name| ContainerName::main().as_str() != *name);
    let (Some(wanted), Some(built)) = (wanted, image) else {
        return Ok(image);
    };
    let sidecars: Vec<_> = built.sidecars.of(company).collect();
    let found = sidecars.iter().find(|it| it.name.as_str() == wanted);
    let found = found.ok_or_else(|| {
        let main = ContainerName::main();
        let names = sidecars.iter().map(|it| it.name.as_str());
        let names: Vec<&str> = std::iter::once(main.as_str()).chain(names).collect();
        Problem::not_found(&format!("container ({wanted})"))
            .hint(format!("{pod} has {}.", names.join(", ")))
    })?;
    Ok(image.filter(|_| found.image_name.is_none()))
}

/// What the pod runs; a forwarding session runs nothing.
pub(super) fn work(
    purpose: SessionPurpose,
    session: AttachId,
    image: Option<&BuiltImage>,
) -> SessionWork {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let mut env = BTreeMap::from([(SESSION_VARIABLE.to_owned(), session.to_string())]);
    let (command, tty) = match purpose {
        SessionPurpose::Forward { .. } => return SessionWork::Watch,
        SessionPurpose::CopyFrom { path } => {
            let (folder, name) = split(&path);
            let command = words(&["tar", "-C", folder, "-cf", "-", "--", name]);
            return SessionWork::Exec {
                command,
                tty: false,
                env,
            };
        }
        SessionPurpose::CopyTo { path } => {
            let command = words(&["sh", "-c", UNPACK, "sh", &path]);
            return SessionWork::Exec {
                command,
                tty: false,
                env,
            };
        }
        SessionPurpose::Exec { command, tty, term } => {
            if let Some(term) = term.filter(|_| tty) {
                env.insert("TERM".into(), term);
            }
            (command, tty)
        }
    };
    let command = if command.is_empty() {
        words(&["sh", "-c", SHELL])
    } else {
        command
    };
    // Without it, a command in an image that buildpacks made finds nothing of what they installed.
    let launcher = image.filter(|image| spec::has_launcher(image));
    let command = match launcher {
        Some(_) => [words(&[spec::LAUNCHER, "--"]), command].concat(),
        None => command,
    };
    SessionWork::Exec { command, tty, env }
}

/// The folder that a path stands in, and its name there: what a tar archive of it begins with.
fn split(path: &str) -> (&str, &str) {
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        return ("/", ".");
    }
    match trimmed.rsplit_once('/') {
        _ if trimmed.ends_with("..") || trimmed == "." || trimmed.ends_with("/.") => (trimmed, "."),
        Some(("", name)) => ("/", name),
        Some((folder, name)) => (folder, name),
        None => (".", trimmed),
    }
}

/// What goes on the record. A command's arguments may hold a secret, so only its program does.
pub(super) fn told(purpose: &SessionPurpose, pod: &str) -> (&'static str, String) {
    match purpose {
        SessionPurpose::Exec { command, .. } => {
            let program = match command.first() {
                None => "a shell".to_owned(),
                Some(word) if is_plain(word) => format!("`{word}`"),
                Some(_) => "a command".to_owned(),
            };
            ("pod.exec", format!("Ran {program} in {pod}."))
        }
        SessionPurpose::Forward { ports } => {
            let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
            let ports = ports.join(", ");
            ("pod.forward", format!("Forwarded port {ports} of {pod}."))
        }
        SessionPurpose::CopyFrom { path } => {
            ("pod.copy", format!("Copied {} from {pod}.", shown(path)))
        }
        SessionPurpose::CopyTo { path } => {
            ("pod.copy", format!("Copied to {} in {pod}.", shown(path)))
        }
    }
}

fn is_plain(word: &str) -> bool {
    word.len() <= TOLD_BYTES_MAX
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_./+".contains(&b))
}

fn shown(path: &str) -> String {
    path.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_as_cp_sees_it() {
        for (path, folder, name) in [
            ("/app/x", "/app", "x"),
            ("/app/x/", "/app", "x"),
            ("/app", "/", "app"),
            ("/", "/", "."),
            ("x", ".", "x"),
            ("a/b", "a", "b"),
            (".", ".", "."),
            ("..", "..", "."),
            ("/app/..", "/app/..", "."),
            ("/app/.", "/app/.", "."),
            ("-x", ".", "-x"),
        ] {
            assert_eq!(split(path), (folder, name), "{path}");
        }
    }

    #[test]
    fn the_record_names_the_program_and_no_argument() {
        let exec = |words: &[&str]| SessionPurpose::Exec {
            command: words.iter().map(|&word| word.to_owned()).collect(),
            tty: false,
            term: None,
        };
        for (purpose, expect) in [
            (exec(&[]), "Ran a shell in web.1."),
            (exec(&["/bin/ls", "-l"]), "Ran `/bin/ls` in web.1."),
            (
                exec(&["psql", "postgres://u:pw@db"]),
                "Ran `psql` in web.1.",
            ),
            (exec(&["KEY=secret"]), "Ran a command in web.1."),
            (
                SessionPurpose::Forward {
                    ports: vec![80, 5432],
                },
                "Forwarded port 80, 5432 of web.1.",
            ),
            (
                SessionPurpose::CopyFrom {
                    path: "/a\n".into(),
                },
                "Copied /a from web.1.",
            ),
        ] {
            assert_eq!(told(&purpose, "web.1").1, expect);
        }
    }

    #[test]
    fn a_container_is_one_of_the_pods() {
        let mut image = crate::deploy::spec::tests::image(&["web"]);
        let mut proxy = crate::deploy::spec::tests::sidecar("proxy", &[]);
        proxy.image_name = Some("nginx:1.27".into());
        let own = crate::deploy::spec::tests::sidecar("own", &[]);
        image.sidecars.containers = vec![proxy, own];
        let web = ProcessType::web();
        let of = |container: Option<&str>, company| {
            let new = NewSession {
                purpose: SessionPurpose::Forward { ports: vec![1] },
                container: container.map(Into::into),
            };
            let found = image_of(&new, "web.1", Some(&image), company);
            found.map(|image| image.is_some()).ok()
        };
        // The launcher is in the app's own image only.
        for (container, expect) in [
            (None, Some(true)),
            (Some("main"), Some(true)),
            (Some("own"), Some(true)),
            (Some("proxy"), Some(false)),
            (Some("other"), None),
        ] {
            assert_eq!(of(container, Some(&web)), expect, "{container:?}");
        }
        assert_eq!(of(Some("own"), None), None, "a one-off pod has none");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (body, good) in [
            (r#"{"kind":"exec"}"#, true),
            (
                r#"{"kind":"exec","command":["ls","a b"],"tty":true,"term":"xterm-256color"}"#,
                true,
            ),
            (r#"{"kind":"exec","container":"proxy"}"#, true),
            (r#"{"kind":"exec","container":"../x"}"#, false),
            (r#"{"kind":"exec","command":[""]}"#, false),
            (r#"{"kind":"exec","command":["a\u0000b"]}"#, false),
            (r#"{"kind":"exec","term":"x\ny"}"#, false),
            (r#"{"kind":"forward","ports":[5432]}"#, true),
            (r#"{"kind":"forward","ports":[]}"#, false),
            (r#"{"kind":"forward","ports":[0]}"#, false),
            (
                r#"{"kind":"forward","ports":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}"#,
                false,
            ),
            (r#"{"kind":"copy-to","path":"/app/x"}"#, true),
            (r#"{"kind":"copy-from","path":""}"#, false),
        ] {
            let new: NewSession = serde_json::from_str(body).unwrap();
            assert_eq!(check(&new).is_ok(), good, "{body}");
        }
    }
}
