//! Makes a new migration rebuild the crate that embeds it.
#![expect(
    clippy::print_stdout,
    reason = "standard output is how a build script talks to cargo"
)]

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
