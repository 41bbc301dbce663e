//! One app's log on disk: numbered segments of JSON lines, of which the oldest goes when a new one
//! begins.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use chrono::DateTime;
use fairway_api::{
    ids::{AppId, PodId},
    logs::{LogLine, LogSource},
};
use serde::{Deserialize, Serialize};

use super::LogFilter;

/// Bytes after which a segment is full. A batch is not split, so it may have a little more.
pub(super) const SEGMENT_BYTES: u64 = 1024 * 1024;
/// Segments kept per app: 8 MiB, several times the 1,500 lines that Heroku keeps.
pub(super) const SEGMENTS_MAX: u64 = 8;

/// A line as it stands in a segment. Short names: a line is often shorter than its frame.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Microseconds since 1970.
    t: i64,
    s: LogSource,
    p: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    d: Option<PodId>,
    x: String,
}

/// A place in an app's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    segment: u64,
    bytes: u64,
}

/// The writing end of one app's log.
pub(super) struct History {
    folder: PathBuf,
    at: Position,
    /// The last write may have been cut off, so the next one starts on a new line.
    torn: bool,
}

impl History {
    /// Goes on where the folder's newest segment ends. A folder that cannot be read shows at the
    /// first append.
    pub(super) fn open(folder: PathBuf) -> Self {
        let segment = segments(&folder)
            .ok()
            .and_then(|all| all.last().copied())
            .unwrap_or(0);
        let (bytes, torn) = end_of(&segment_path(&folder, segment)).unwrap_or((0, false));
        Self {
            folder,
            at: Position { segment, bytes },
            torn,
        }
    }

    /// Where the next line will stand.
    pub(super) fn position(&self) -> Position {
        self.at
    }

    /// Appends lines in one write.
    pub(super) fn append(&mut self, lines: &[LogLine]) -> io::Result<()> {
        let mut text = if self.torn {
            b"\n".to_vec()
        } else {
            Vec::new()
        };
        for line in lines {
            let kept = Kept {
                t: line.at.timestamp_micros(),
                s: line.source,
                p: line.process.clone(),
                d: line.pod,
                x: line.text.clone(),
            };
            serde_json::to_writer(&mut text, &kept)?;
            text.push(b'\n');
        }
        fs::create_dir_all(&self.folder)?;
        let path = segment_path(&self.folder, self.at.segment);
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        let written = file.write_all(&text);
        self.at.bytes = file.metadata()?.len();
        self.torn = written.is_err();
        written?;
        if self.at.bytes >= SEGMENT_BYTES {
            self.at = Position {
                segment: self.at.segment + 1,
                bytes: 0,
            };
            if let Some(old) = self.at.segment.checked_sub(SEGMENTS_MAX) {
                drop(fs::remove_file(segment_path(&self.folder, old)));
            }
        }
        Ok(())
    }
}

/// The last `lines` lines before `until` that `filter` shows, oldest first.
pub(super) fn last_lines(
    folder: &Path,
    app: AppId,
    until: Position,
    filter: &LogFilter,
    lines: usize,
) -> io::Result<Vec<LogLine>> {
    let mut found = Vec::new();
    for segment in segments(folder)?
        .into_iter()
        .rev()
        .filter(|n| *n <= until.segment)
    {
        if found.len() >= lines {
            break;
        }
        let mut text = match fs::read(segment_path(folder, segment)) {
            Ok(text) => text,
            // The writer may have dropped the oldest one meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        };
        if segment == until.segment {
            text.truncate(usize::try_from(until.bytes).unwrap_or(usize::MAX));
        }
        let kept = text
            .rsplit(|byte| *byte == b'\n')
            .filter_map(|line| parse(line, app));
        let wanted = lines - found.len();
        found.extend(kept.filter(|line| filter.shows(line)).take(wanted));
    }
    found.reverse();
    Ok(found)
}

/// A kept line; `None` for a torn one.
fn parse(line: &[u8], app: AppId) -> Option<LogLine> {
    let kept: Kept = serde_json::from_slice(line).ok()?;
    Some(LogLine {
        app,
        at: DateTime::from_timestamp_micros(kept.t)?,
        source: kept.s,
        process: kept.p,
        pod: kept.d,
        text: kept.x,
    })
}

fn segment_path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment}.log"))
}

/// The numbers of the segments there are, ascending.
fn segments(folder: &Path) -> io::Result<Vec<u64>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let number: Option<u64> = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log")?.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A segment's length, and whether its last line lacks its end.
fn end_of(path: &Path) -> io::Result<(u64, bool)> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    if bytes == 0 {
        return Ok((0, false));
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok((bytes, last != *b"\n"))
}
