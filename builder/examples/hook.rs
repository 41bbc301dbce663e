//! The hook program by itself, for the tests: there it stands in for `fairway hook pre-receive`.

use std::process::ExitCode;

fn main() -> ExitCode {
    fairway_builder::hook_main()
}
