//! `config:edit`: the config vars in an editor.

use std::{fs, io::Write, path::Path, process::Command as Process};

use fairway_api::{config_vars::ConfigVars, names::AppName};

use super::update;
use crate::{config_file, failure::Failure, session::Session, terminal};

/// Tried in this order where neither `VISUAL` nor `EDITOR` is set.
const EDITORS: [&str; 3] = ["sensible-editor", "nano", "vi"];

pub(super) async fn edit(session: &Session) -> Result<(), Failure> {
    let (client, app) = session.app()?;
    let before = client.config_vars(&app).await?;
    let editor = editor(session)?;
    let after = edited(&editor, &app, &before)?;
    let patch = config_file::difference(&before, &after);
    if patch.is_empty() {
        session.output.talk("Nothing was changed.");
        return session.output.answer(&before);
    }
    let vars = update(&client, &app, &patch, session).await?;
    session.output.answer(&vars)
}

fn editor(session: &Session) -> Result<String, Failure> {
    if let Some(editor) = &session.environment.editor {
        return Ok(editor.clone());
    }
    EDITORS
        .into_iter()
        .find(|name| session.environment.finds(name).is_some())
        .map(Into::into)
        .ok_or_else(|| {
            Failure::usage("there is no editor").with_hint("Name one: EDITOR=nano app config:edit")
        })
}

/// Lets the user edit until the text can be read. The file is the owner's alone and is removed in
/// any case: it holds secrets.
fn edited(editor: &str, app: &AppName, before: &ConfigVars) -> Result<ConfigVars, Failure> {
    let file = tempfile::Builder::new()
        .prefix(&format!("{app}-config-"))
        .suffix(".env")
        .tempfile()
        .map_err(Failure::io("make a file to edit"))?;
    let head = format!(
        "# Config vars of {app}: NAME=value, one per line. A line that is removed unsets its variable.\n"
    );
    file.as_file()
        .write_all(format!("{head}{}", config_file::render(before)).as_bytes())
        .map_err(Failure::io("write the file to edit"))?;
    loop {
        open_editor(editor, file.path())?;
        // By its path: many editors replace the file instead of writing into it.
        let text = fs::read_to_string(file.path()).map_err(Failure::io("read the edited file"))?;
        match config_file::parse(&text) {
            Ok(vars) => return Ok(vars),
            Err(error) if terminal::can_ask() => {
                if !terminal::confirm(&format!("{error}. Edit again?"))? {
                    return Err(Failure::usage(error.to_string()).with_hint("Nothing was changed."));
                }
            }
            Err(error) => {
                return Err(Failure::usage(error.to_string()).with_hint("Nothing was changed."));
            }
        }
    }
}

/// Runs the editor as git does: its setting is a shell command line that gets the file's name.
fn open_editor(editor: &str, path: &Path) -> Result<(), Failure> {
    let status = Process::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$@\""))
        .arg(editor)
        .arg(path)
        .status()
        .map_err(Failure::io("start the editor"))?;
    if status.success() {
        Ok(())
    } else {
        Err(
            Failure::failed(format!("the editor {editor:?} failed ({status})"))
                .with_hint("Nothing was changed."),
        )
    }
}
