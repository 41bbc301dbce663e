//! Starts the async runtime, turns signals into a shutdown, and an error into an exit code.

use std::{future::Future, process::ExitCode};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs a role until it ends or a signal asks it to; a second signal ends the process at once.
pub fn run<F, Fut>(role: F) -> ExitCode
where
    F: FnOnce(CancellationToken) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    raise_file_limit();
    let shutdown = CancellationToken::new();
    let outcome = runtime.block_on(async {
        tokio::spawn(watch_signals(shutdown.clone()));
        role(shutdown).await
    });
    // What still runs has been told to stop and had its time.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Each request through the router holds two sockets, and the usual soft limit is 1024 files.
/// Raising it to what the machine allows takes no privilege; children get it too, which is fine for
/// git, and containers get theirs from the engine.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    ) {
        tracing::warn!(
            "the limit of open files stays at {:?}: {error}",
            limit.current
        );
    }
}

async fn watch_signals(shutdown: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        tracing::error!("signals cannot be watched; stop this process with SIGKILL");
        return;
    };
    for asked in 0.. {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if asked > 0 {
            tracing::warn!("asked twice to stop: leaving at once");
            std::process::exit(1);
        }
        tracing::info!("stopping; a second signal stops at once");
        shutdown.cancel();
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the last word of a command goes to the terminal"
)]
fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!(" !     {error:#}");
    ExitCode::FAILURE
}
