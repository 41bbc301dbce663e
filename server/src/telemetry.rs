//! The process's own log: text on standard error, or JSON with `FAIRWAY_LOG_FORMAT=json`.

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// What is logged when `FAIRWAY_LOG` says nothing.
const FILTER_DEFAULT: &str = "info,russh=warn,hyper=warn,sqlx=warn,bollard=warn";

/// Installs the log for this process. A second call does nothing.
pub fn init() {
    let filter = EnvFilter::try_from_env("FAIRWAY_LOG").unwrap_or_else(|_| FILTER_DEFAULT.into());
    let json = std::env::var("FAIRWAY_LOG_FORMAT").is_ok_and(|format| format == "json");
    let registry = tracing_subscriber::registry().with(filter);
    let installed = if json {
        registry
            .with(fmt::layer().json().with_writer(std::io::stderr))
            .try_init()
    } else {
        registry
            .with(fmt::layer().with_ansi(false).with_writer(std::io::stderr))
            .try_init()
    };
    // Refused only when a log is installed already, as in tests.
    drop(installed);
}
