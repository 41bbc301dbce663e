//! `metrics`: what processes use and how requests go.

use clap::{Args, Subcommand};
use fairway_api::metrics::TypeMetrics;

use crate::{failure::Failure, output::table, session::Session};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(name = "metrics")]
    Show(ShowArgs),
}

/// Show CPU, memory, requests and latency, as measured over the last seconds
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  app metrics
  app metrics --json | jq '.[] | select(.type == \"web\").p95_ms'
A dash stands for what is not known, such as CPU in the first seconds of a process.")]
pub(crate) struct ShowArgs {}

impl Command {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Self::Show(ShowArgs {}) = self;
        let (client, app) = session.app()?;
        let metrics = client.metrics(&app).await?;
        session.output.data(&metrics, |metrics| describe(metrics))
    }
}

fn describe(metrics: &[TypeMetrics]) -> String {
    const MIB: u64 = 1024 * 1024;
    let types = metrics.iter().map(|row| {
        [
            row.process_type.to_string(),
            format!("{} of {}", row.up, row.quantity),
            shown(row.cpu_percent, " %"),
            shown(row.memory_percent, " %"),
            shown(row.rps, ""),
            shown(row.errors, ""),
            shown(row.p95_ms, " ms"),
            shown(row.open, ""),
        ]
    });
    let header = [
        "TYPE",
        "UP",
        "CPU",
        "MEMORY",
        "REQUESTS/S",
        "ERRORS/S",
        "P95",
        "OPEN",
    ];
    let mut text = table(header, types);
    let pods = metrics.iter().flat_map(|row| &row.pods).map(|pod| {
        let memory = pod.memory_bytes.map(|bytes| bytes / MIB);
        [
            pod.name.clone(),
            shown(pod.cpu_percent, " %"),
            memory.map_or_else(|| "-".into(), |memory| format!("{memory} MiB")),
            shown(pod.memory_percent, " %"),
        ]
    });
    let mut pods = pods.peekable();
    if pods.peek().is_some() {
        text.push('\n');
        text.push_str(&table(["NAME", "CPU", "MEMORY", "OF SIZE"], pods));
    }
    text
}

fn shown(value: Option<f64>, unit: &str) -> String {
    match value {
        None => "-".into(),
        Some(value) if value >= 100.0 => format!("{value:.0}{unit}"),
        Some(value) => format!("{value:.1}{unit}"),
    }
}
