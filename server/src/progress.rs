//! Tells whoever started `fairway up` how far it is: lines to a pipe, the last one `ready`.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::Mutex,
};

use anyhow::Context;

/// Where progress goes: to the log always, to a pipe until `ready` if one was given.
#[derive(Debug)]
pub struct Progress {
    pipe: Mutex<Option<File>>,
}

impl Progress {
    /// Progress to the log, and to the pipe or file at `path` if given.
    ///
    /// # Errors
    /// When `path` cannot be opened for writing.
    pub fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let pipe = path
            .map(|path| {
                OpenOptions::new()
                    .write(true)
                    .open(path)
                    .with_context(|| format!("open {} to tell the progress", path.display()))
            })
            .transpose()?;
        Ok(Self {
            pipe: Mutex::new(pipe),
        })
    }

    /// One line for people.
    pub fn say(&self, line: &str) {
        tracing::info!("{}", line.trim());
        self.write(line);
    }

    /// Everything is up: the reader stops reading.
    pub fn ready(&self) {
        self.write("ready");
        if let Ok(mut pipe) = self.pipe.lock() {
            *pipe = None;
        }
    }

    fn write(&self, line: &str) {
        let Ok(mut pipe) = self.pipe.lock() else {
            return;
        };
        if let Some(file) = pipe.as_mut()
            && writeln!(file, "{line}").is_err()
        {
            // The reader has gone; the platform goes on without it.
            *pipe = None;
        }
    }
}
