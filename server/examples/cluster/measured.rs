//! Figures: percentiles, and what a process uses.

use std::{
    fs,
    time::{Duration, Instant},
};

/// Times of one kind.
#[derive(Debug, Default, Clone)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The time that this share of all stays below.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(index).copied().unwrap_or_default()
    }

    /// `p50 / p99 / max (count)` in milliseconds.
    pub(crate) fn line(&self) -> String {
        let ms = |percent| self.percentile(percent).as_secs_f64() * 1e3;
        format!(
            "{:.1} / {:.1} / {:.1} ms ({})",
            ms(50),
            ms(99),
            ms(100),
            self.0.len()
        )
    }
}

/// Processor time of a process over a stretch of time.
#[derive(Debug)]
pub(crate) struct Cpu {
    pid: u32,
    from: Instant,
    used: Duration,
}

impl Cpu {
    pub(crate) fn of(pid: u32) -> Self {
        Self {
            pid,
            from: Instant::now(),
            used: used(pid),
        }
    }

    /// Percent of one core since the start.
    pub(crate) fn percent(&self) -> f64 {
        let used = used(self.pid).saturating_sub(self.used).as_secs_f64();
        used / self.from.elapsed().as_secs_f64() * 100.0
    }
}

fn used(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    // User and system time, fields 14 and 15 of proc(5), in ticks of 1/100 s.
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .filter_map(|it| it.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// Resident memory of a process in MB.
pub(crate) fn memory_mb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

/// What was found for one size of cluster, in order.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<(String, &'static str, f64)>);

impl Figures {
    pub(crate) fn add(&mut self, name: &str, unit: &'static str, value: f64) {
        self.0.push((name.to_owned(), unit, value));
    }

    /// Median and the time that 99 of 100 stay below.
    pub(crate) fn add_times(&mut self, name: &str, times: &Times) {
        for percent in [50, 99] {
            let millis = times.percentile(percent).as_secs_f64() * 1e3;
            self.add(&format!("{name}, p{percent}"), "ms", millis);
        }
    }
}

/// Prints the figures of all sizes side by side, and how many times the last is the first.
pub(crate) fn compare(sizes: &[String], all: &[Figures]) {
    let (Some(first), Some(last)) = (all.first(), all.last()) else {
        return;
    };
    let cells = |values: &mut dyn Iterator<Item = String>| -> String {
        values.map(|value| format!("{value:>16}")).collect()
    };
    let growth = |text: String| {
        if all.len() > 1 {
            format!("{text:>10}")
        } else {
            String::new()
        }
    };
    println!(
        "{:<46}{}{}",
        "machines / pods",
        cells(&mut sizes.iter().cloned()),
        growth("growth".into())
    );
    for (index, (name, unit, from)) in first.0.iter().enumerate() {
        let values = all.iter().filter_map(|figures| figures.0.get(index));
        let mut values = values.map(|(_, _, value)| format!("{value:.0} {unit}"));
        let to = last.0.get(index).map_or(f64::NAN, |(_, _, value)| *value);
        let grown = growth(format!("x {:.1}", to / from));
        println!("{name:<46}{}{grown}", cells(&mut values));
    }
}
