//! The process types of a built image, and what app.json adds to them. Pure.

use std::collections::BTreeMap;

use fairway_api::{build_orders::BuiltProcess, names::ProcessType};

use crate::{app_json::AppJson, procfile::Procfile};

/// The shell that a Procfile's lines are run by.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// The type that gets requests.
pub(crate) fn web() -> ProcessType {
    "web".parse().expect("web is a valid process type")
}

/// A process that the image starts by itself.
pub(crate) fn of_image(command_line: String) -> BuiltProcess {
    BuiltProcess {
        command_line,
        entrypoint: None,
        command: None,
        checks: None,
        stop: None,
    }
}

/// A process that a program in the image starts, which needs no arguments.
pub(crate) fn by_launcher(command_line: String, launcher: String) -> BuiltProcess {
    BuiltProcess {
        entrypoint: Some(vec![launcher]),
        command: Some(Vec::new()),
        ..of_image(command_line)
    }
}

/// The processes of an image from a Dockerfile. The image's own command is `web` unless the
/// Procfile has one.
pub(crate) fn of_dockerfile(
    image_command: Option<String>,
    procfile: &Procfile,
) -> BTreeMap<ProcessType, BuiltProcess> {
    let own = image_command.map(|line| (web(), of_image(line)));
    let lines = procfile.iter().map(|(process_type, line)| {
        let entrypoint = SHELL
            .iter()
            .map(|&part| part.to_owned())
            .chain([line.clone()])
            .collect();
        let process = BuiltProcess {
            entrypoint: Some(entrypoint),
            command: Some(Vec::new()),
            ..of_image(line.clone())
        };
        (process_type.clone(), process)
    });
    own.into_iter().chain(lines).collect()
}

/// Adds what app.json says to the processes that exist. Gives the types that it speaks of and the
/// app does not have.
pub(crate) fn add_app_json(
    processes: &mut BTreeMap<ProcessType, BuiltProcess>,
    app: &AppJson,
) -> Vec<ProcessType> {
    for (process_type, process) in processes.iter_mut() {
        process.checks = app.checks.get(process_type).cloned();
        process.stop = app.stop.get(process_type).cloned();
    }
    let spoken_of = app
        .checks
        .keys()
        .chain(app.stop.keys())
        .chain(app.formation.keys());
    let mut missing: Vec<_> = spoken_of
        .filter(|process_type| !processes.contains_key(*process_type))
        .cloned()
        .collect();
    missing.sort();
    missing.dedup();
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn procfile(text: &str) -> Procfile {
        crate::procfile::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_images_command_is_web_unless_the_procfile_says_otherwise() {
        let own = of_dockerfile(Some("python app.py".into()), &Procfile::new());
        assert_eq!(own[&web()].entrypoint, None);
        let both = of_dockerfile(Some("x".into()), &procfile("release: ./migrate"));
        assert_eq!(
            both.keys().map(ProcessType::as_str).collect::<Vec<_>>(),
            ["release", "web"]
        );
        assert_eq!(both[&web()].command_line, "x");
        let replaced = of_dockerfile(Some("x".into()), &procfile("web: a && b"));
        let want = ["/bin/sh", "-c", "a && b"].map(str::to_owned).to_vec();
        assert_eq!(replaced[&web()].entrypoint, Some(want));
        assert!(of_dockerfile(None, &Procfile::new()).is_empty());
    }

    #[test]
    fn app_json_reaches_the_types_it_names() {
        let app = br#"{"stop": {"web": {"grace": 9}}, "formation": {"cron": {"quantity": 1}}}"#;
        let app = crate::app_json::parse(app).unwrap();
        let mut processes = of_dockerfile(Some("x".into()), &Procfile::new());
        let missing = add_app_json(&mut processes, &app);
        assert_eq!(
            missing.iter().map(ProcessType::as_str).collect::<Vec<_>>(),
            ["cron"]
        );
        assert_eq!(processes[&web()].stop.as_ref().unwrap().grace_secs, 9);
    }
}
