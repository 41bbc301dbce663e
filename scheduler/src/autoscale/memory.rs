//! What is remembered between two decisions about one process type.

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Duration, Utc};

use super::{DOWN_PERIOD_SECS, UP_PERIOD_SECS, UP_PODS, propose::whole};

/// How many entries are kept of each kind. With a decision every five seconds and a day of patience
/// there would be 17,280; entries of one value are one, so more than this means that the values
/// move all the time, and then the oldest are not missed.
const ENTRIES_MAX: usize = 4_096;
/// For how long it is remembered under which load the pods were too slow, in seconds: after that the
/// reason may have gone, which only another try shows.
const OVERLOAD_SECS: i64 = 60 * 60;
/// The share of a load that was too much which pods are given again.
const HEADROOM: f64 = 0.8;

/// The past of one process type. It begins empty, also when the controller starts.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Since when there is a memory.
    since: Option<DateTime<Utc>>,
    /// As of the last decision.
    quantity: u32,
    /// Counts that were asked for, each until `until`; oldest first.
    asked: VecDeque<Asked>,
    /// Counts and until when they were set; oldest first.
    before: VecDeque<(DateTime<Utc>, u32)>,
    /// The load per pod that was too much, and when, by what showed it.
    overload: BTreeMap<Sign, (DateTime<Utc>, f64)>,
}

/// What shows that pods have too much to do, and falls faster than the load does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sign {
    Latency,
    OpenRequests,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    until: DateTime<Utc>,
    count: u32,
}

impl Memory {
    /// Takes note of the count that is set, which somebody else may have changed.
    pub(super) fn follow(&mut self, quantity: u32, down_after_secs: u32, now: DateTime<Utc>) {
        if self.since.is_none() {
            self.since = Some(now);
            self.quantity = quantity;
        }
        if quantity != self.quantity {
            self.changed(self.quantity, quantity, now);
            // As if it had been asked for: it stays for a while.
            self.asked.clear();
            self.propose(quantity, now);
        }
        let oldest = now - Duration::seconds(i64::from(down_after_secs));
        self.asked.retain(|asked| asked.until >= oldest);
        let oldest = now - Duration::seconds(UP_PERIOD_SECS.max(DOWN_PERIOD_SECS));
        self.before.retain(|(until, _)| *until > oldest);
    }

    /// Notes that the count changes.
    pub(super) fn changed(&mut self, from: u32, to: u32, now: DateTime<Utc>) {
        if from != to {
            self.before.push_back((now, from));
            cut(&mut self.before);
        }
        if to > from {
            self.propose(to, now);
        }
        self.quantity = to;
    }

    /// Notes a count that is asked for.
    pub(super) fn propose(&mut self, count: u32, now: DateTime<Utc>) {
        match self.asked.back_mut() {
            Some(last) if last.count == count => last.until = now,
            _ => {
                self.asked.push_back(Asked { until: now, count });
                cut(&mut self.asked);
            }
        }
    }

    /// The most that was asked for lately; `quantity` while too little is known of the past.
    pub(super) fn enough(&self, quantity: u32, down_after_secs: u32, now: DateTime<Utc>) -> u32 {
        let long = Duration::seconds(i64::from(down_after_secs));
        if self.since.is_none_or(|since| now - since < long) {
            return quantity;
        }
        let most = self.asked.iter().map(|asked| asked.count).max();
        most.map_or(quantity, |most| most.min(quantity))
    }

    /// The most pods that there may be now.
    pub(super) fn most(&self, quantity: u32, now: DateTime<Utc>) -> u32 {
        let least = self.within(UP_PERIOD_SECS, now).min();
        let from = least.unwrap_or(quantity).min(quantity);
        from.saturating_mul(2).max(from.saturating_add(UP_PODS))
    }

    /// The fewest pods that there may be now. Whoever asks for a shorter wait gets shorter steps.
    pub(super) fn fewest(&self, quantity: u32, down_after_secs: u32, now: DateTime<Utc>) -> u32 {
        let period = DOWN_PERIOD_SECS.min(i64::from(down_after_secs));
        let most = self.within(period, now).max();
        most.unwrap_or(quantity).max(quantity) / 2
    }

    /// Counts that were set within the last seconds.
    fn within(&self, secs: i64, now: DateTime<Utc>) -> impl Iterator<Item = u32> {
        let since = now - Duration::seconds(secs);
        let recent = self.before.iter();
        recent
            .filter(move |(until, _)| *until > since)
            .map(|(_, count)| *count)
    }

    /// True when the count was the same for this long.
    pub(super) fn is_settled(&self, secs: i64, now: DateTime<Utc>) -> bool {
        self.within(secs, now).next().is_none()
    }

    /// Notes that this load, in requests per second and pod, is too much.
    pub(super) fn overloaded(&mut self, sign: Sign, load: f64, now: DateTime<Utc>) {
        self.overload.insert(sign, (now, load));
    }

    /// The fewest pods for this load, in requests per second, by what was too much lately: a
    /// constant load must not take the same pod away again and again.
    pub(super) fn bearable(&self, sign: Sign, load: f64, now: DateTime<Utc>) -> u32 {
        let known = self.overload.get(&sign);
        let lately = known.filter(|(at, _)| now - *at < Duration::seconds(OVERLOAD_SECS));
        lately.map_or(0, |(_, most)| {
            whole(load / (most * HEADROOM).max(f64::MIN_POSITIVE))
        })
    }
}

fn cut<T>(entries: &mut VecDeque<T>) {
    while entries.len() > ENTRIES_MAX {
        entries.pop_front();
    }
}
