//! The `app` binary: everything is in the library, so that other crates can run it too.

use std::process::ExitCode;

fn main() -> ExitCode {
    fairway_cli::main(std::env::args_os())
}
