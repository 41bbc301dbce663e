//! The program that git runs as its pre-receive hook. It knows nothing: it tells the builder what
//! git told it, prints what comes back, and ends as it is told. Whatever goes wrong refuses the
//! push, since a push that no builder agreed to must not move a ref.

use std::{
    env,
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use super::wire::{
    Frame, HookRequest, SOCKET_VARIABLE, TOKEN_VARIABLE, UPDATES_BYTES_MAX, read_frame,
};

/// How much may wait to be printed, in bytes; a build says less than this in all. What comes on
/// top of it is dropped.
const WAITING_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long the end waits for what is not printed yet. A builder that is there empties the pipe,
/// if need be in place of a client that stalls.
const PRINT_WAIT_MAX: Duration = Duration::from_secs(20);
/// The same when the builder has gone: whatever reads now does it at once.
const LAST_WORDS_WAIT_MAX: Duration = Duration::from_secs(2);

/// Runs as git's pre-receive hook: `fairway hook pre-receive`.
pub fn hook_main() -> ExitCode {
    let printer = Printer::start();
    let (code, wait) = match run(&printer) {
        Ok(code) => (ExitCode::from(code), PRINT_WAIT_MAX),
        Err(error) => {
            let text = format!(
                " !     The push was not taken: the builder left in the middle of it ({error}).\n \
                 !     Push again.\n"
            );
            printer.print(text.into_bytes());
            (ExitCode::FAILURE, LAST_WORDS_WAIT_MAX)
        }
    };
    printer.finish(wait);
    code
}

fn run(printer: &Printer) -> io::Result<u8> {
    let variable = |name: &str| {
        env::var(name).map_err(|_| io::Error::other(format!("{name} is not set by the builder")))
    };
    let mut updates = Vec::new();
    let read = io::stdin()
        .take(UPDATES_BYTES_MAX)
        .read_to_end(&mut updates)?;
    if read as u64 == UPDATES_BYTES_MAX {
        return Err(io::Error::other(
            "it changes too many refs; push them in parts",
        ));
    }
    let request = HookRequest {
        token: variable(TOKEN_VARIABLE)?,
        quarantine: env::var("GIT_QUARANTINE_PATH").ok(),
        // A name that is not UTF-8 is no branch that deploys, so its exact bytes do not matter.
        updates: String::from_utf8_lossy(&updates).into_owned(),
    };
    let mut builder = UnixStream::connect(variable(SOCKET_VARIABLE)?)?;
    builder.write_all(&serde_json::to_vec(&request)?)?;
    builder.shutdown(Shutdown::Write)?;
    let mut from = io::BufReader::new(builder);
    loop {
        match read_frame(&mut from)? {
            Frame::Text(text) => printer.print(text),
            Frame::Exit(code) => return Ok(code),
        }
    }
}

/// Prints in a thread of its own. When the builder is killed, nobody empties the pipe that this
/// prints into, and git does not notice; a hook that waited there would stay for ever, and git and
/// its quarantine with it.
struct Printer {
    texts: mpsc::Sender<Vec<u8>>,
    waiting: Arc<AtomicUsize>,
    finished: mpsc::Receiver<()>,
}

impl Printer {
    fn start() -> Self {
        let (texts, to_print) = mpsc::channel::<Vec<u8>>();
        let (finish, finished) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&waiting);
        // Ends with the process; nobody waits for it beyond `finish`.
        drop(thread::spawn(move || {
            for text in to_print {
                // When nobody reads this any more there is nobody to tell.
                drop(io::stderr().write_all(&text));
                left.fetch_sub(text.len(), Ordering::Relaxed);
            }
            drop(finish);
        }));
        Self {
            texts,
            waiting,
            finished,
        }
    }

    fn print(&self, text: Vec<u8>) {
        if self.waiting.fetch_add(text.len(), Ordering::Relaxed) < WAITING_BYTES_MAX {
            // The thread takes texts until we end.
            drop(self.texts.send(text));
        }
    }

    /// Waits until all is printed, or for long enough.
    fn finish(self, wait: Duration) {
        let Self {
            texts, finished, ..
        } = self;
        drop(texts);
        // It says nothing: it hangs up.
        let _ = finished.recv_timeout(wait);
    }
}
