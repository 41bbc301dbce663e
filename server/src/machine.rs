//! What this machine is called.

use fairway_api::names::NodeName;

/// The machine's hostname, made to fit: its first label in lower case.
pub(crate) fn this_machine() -> NodeName {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .to_ascii_lowercase();
    let label: String = name
        .split('.')
        .next()
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let trimmed = label.trim_matches('-');
    trimmed
        .parse()
        .or_else(|_| "node".parse())
        .expect("\"node\" is a valid name")
}
