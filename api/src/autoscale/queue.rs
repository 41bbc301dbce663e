//! A queue whose length a count follows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::names::ConfigName;

/// The longest URL, and the longest `value`, in bytes.
const TEXT_BYTES_MAX: usize = 2_000;
/// The largest target, in jobs.
const TARGET_MAX: u32 = 1_000_000;
/// The most headers of the request.
const HEADERS_MAX: usize = 8;

/// Where the length of a queue is read, and how much of it one pod takes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// Asked with GET: a name of the app's own pods (`http://web.a.internal:8080/queue`), or a
    /// public address.
    pub url: Url,
    /// Waiting jobs per pod.
    pub target: u32,
    /// Where in the answer the number is: a JSON pointer (`/messages_ready`), or the name of a
    /// Prometheus metric (`rabbitmq_queue_messages_ready`, its series are added). `None` for an
    /// answer that is the number and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Headers of the request, and the config var that each has its value from, so that no secret
    /// stands here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, ConfigName>,
}

/// Why a [`Queue`] cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQueue {
    #[error("the queue's URL must begin with http:// or https:// and name a host")]
    Scheme,
    #[error(
        "the queue's URL holds a user or password: put them into a config var and name that as a header's value"
    )]
    Credentials,
    #[error("the queue's {what} has {bytes} bytes; it may have at most {TEXT_BYTES_MAX}")]
    TooLong { what: &'static str, bytes: usize },
    #[error("the queue's target is {0}: it must be from 1 to {TARGET_MAX}")]
    Target(u32),
    #[error(
        "{0:?} cannot be read from an answer: write a JSON pointer such as /messages, or the name of a metric"
    )]
    Value(String),
    #[error("{0:?} is no name of a header that can be sent")]
    Header(String),
    #[error("the queue has {0} headers; it may have at most {HEADERS_MAX}")]
    Headers(usize),
}

impl Queue {
    /// Holds every rule.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), InvalidQueue> {
        let named = self.url.host_str().is_some_and(|host| !host.is_empty());
        if !matches!(self.url.scheme(), "http" | "https") || !named {
            return Err(InvalidQueue::Scheme);
        }
        if !self.url.username().is_empty() || self.url.password().is_some() {
            return Err(InvalidQueue::Credentials);
        }
        let value = self.value.as_deref().unwrap_or_default();
        for (what, bytes) in [("URL", self.url.as_str().len()), ("value", value.len())] {
            if bytes > TEXT_BYTES_MAX {
                return Err(InvalidQueue::TooLong { what, bytes });
            }
        }
        if !(1..=TARGET_MAX).contains(&self.target) {
            return Err(InvalidQueue::Target(self.target));
        }
        if let Some(value) = &self.value
            && !value.starts_with('/')
            && !is_metric(value)
        {
            return Err(InvalidQueue::Value(value.chars().take(80).collect()));
        }
        if self.headers.len() > HEADERS_MAX {
            return Err(InvalidQueue::Headers(self.headers.len()));
        }
        match self.headers.keys().find(|name| !is_header(name)) {
            Some(name) => Err(InvalidQueue::Header(name.chars().take(80).collect())),
            None => Ok(()),
        }
    }
}

fn is_metric(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty()
}

/// Those that say where the request goes, or how its end is found, are not for users.
fn is_header(name: &str) -> bool {
    const RESERVED: [&str; 6] = [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "upgrade",
        "te",
    ];
    let token = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    let lower = name.to_ascii_lowercase();
    !name.is_empty()
        && name.len() <= 100
        && name.bytes().all(token)
        && !RESERVED.contains(&lower.as_str())
        && !lower.starts_with("proxy-")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_rule_is_held() {
        let check = |change: serde_json::Value| {
            let mut value = json!({ "url": "https://queue.example.com/len", "target": 10 });
            for (key, changed) in change.as_object().unwrap() {
                value[key] = changed.clone();
            }
            serde_json::from_value::<Queue>(value).unwrap().check()
        };
        for good in [
            json!({}),
            json!({ "url": "http://web.a.internal:8080/queue", "value": "/a/0/b" }),
            json!({ "value": "queue:length_total" }),
            json!({ "headers": { "Authorization": "QUEUE_TOKEN", "X-Api_Key": "KEY" } }),
        ] {
            assert_eq!(check(good.clone()), Ok(()), "{good}");
        }
        for bad in [
            json!({ "url": "file:///etc/passwd" }),
            json!({ "url": "gopher://queue.example.com/" }),
            json!({ "url": "https://user:word@queue.example.com/" }),
            json!({ "url": format!("https://a.example.com/{}", "x".repeat(2_000)) }),
            json!({ "target": 0 }),
            json!({ "target": 1_000_001 }),
            json!({ "value": "" }),
            json!({ "value": "a b" }),
            json!({ "value": "1st" }),
            json!({ "headers": { "Host": "HOST" } }),
            json!({ "headers": { "a b": "HOST" } }),
            json!({ "headers": { "Proxy-Authorization": "HOST" } }),
        ] {
            assert!(check(bad.clone()).is_err(), "{bad}");
        }
        let text = json!({ "url": "https://a.b/", "target": 1, "headers": { "A": "not a var" } });
        assert!(serde_json::from_value::<Queue>(text).is_err());
    }
}
