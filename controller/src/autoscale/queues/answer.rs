//! The number in a queue's answer: plain, in JSON, or in Prometheus' text. Pure.

/// Why an answer has no number; shown to the app's people, so nothing of the answer is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoNumber {
    #[error("its answer is no number")]
    NotPlain,
    #[error("its answer is no JSON")]
    NotJson,
    #[error("its answer has no number at {0}")]
    NotThere(String),
    #[error("its answer has no metric {0}")]
    NoMetric(String),
    #[error("the number in its answer is no length of a queue")]
    Absurd,
}

/// Reads it. `value` says where it is.
pub(super) fn read(body: &str, value: Option<&str>) -> Result<f64, NoNumber> {
    let number = match value {
        None => plain(body)?,
        Some(pointer) if pointer.starts_with('/') => json(body, pointer)?,
        Some(metric) => metrics(body, metric)?,
    };
    let fits = number.is_finite() && (0.0..=1e15).contains(&number);
    fits.then_some(number).ok_or(NoNumber::Absurd)
}

fn plain(body: &str) -> Result<f64, NoNumber> {
    body.trim().parse().map_err(|_| NoNumber::NotPlain)
}

/// Numbers and texts that are numbers; of a list, how long it is.
fn json(body: &str, pointer: &str) -> Result<f64, NoNumber> {
    let not_there = || NoNumber::NotThere(pointer.to_owned());
    let body: serde_json::Value = serde_json::from_str(body).map_err(|_| NoNumber::NotJson)?;
    match body.pointer(pointer).ok_or_else(not_there)? {
        serde_json::Value::Number(number) => number.as_f64().ok_or_else(not_there),
        serde_json::Value::String(text) => text.trim().parse().map_err(|_| not_there()),
        serde_json::Value::Array(list) => Ok(list.len() as f64),
        _ => Err(not_there()),
    }
}

/// The sum of a metric's series: `name{label="value"} 12 1700000000000`.
fn metrics(body: &str, metric: &str) -> Result<f64, NoNumber> {
    let mut sum = None;
    for line in body.lines() {
        let Some(rest) = line.trim_start().strip_prefix(metric) else {
            continue;
        };
        let rest = match rest.as_bytes().first() {
            // A label's value may hold anything, a brace too.
            Some(b'{') => after_labels(rest).unwrap_or_default(),
            Some(b' ' | b'\t') => rest,
            _ => continue,
        };
        let number = rest.split_ascii_whitespace().next();
        if let Some(number) = number.and_then(|it| it.parse::<f64>().ok()) {
            *sum.get_or_insert(0.0) += number;
        }
    }
    sum.ok_or_else(|| NoNumber::NoMetric(metric.to_owned()))
}

fn after_labels(text: &str) -> Option<&str> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => return text.get(at + 1..),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_found_in_every_form() {
        let text = "# HELP jobs How many\n# TYPE jobs gauge\njobs{queue=\"a} 9\",x=\"\\\"\"} 12\n\
                    jobs{queue=\"b\"} 3.5 1700000000000\njobs_total 99\n  other 4\n";
        let table = [
            ("12\n", None, Ok(12.0)),
            (" 3.5 ", None, Ok(3.5)),
            ("12 jobs", None, Err(NoNumber::NotPlain)),
            ("-1", None, Err(NoNumber::Absurd)),
            ("NaN", None, Err(NoNumber::Absurd)),
            ("1e300", None, Err(NoNumber::Absurd)),
            ("{\"a\":[{\"b\":7}]}", Some("/a/0/b"), Ok(7.0)),
            ("{\"a\":\"8\"}", Some("/a"), Ok(8.0)),
            ("{\"a\":[1,2,3]}", Some("/a"), Ok(3.0)),
            (
                "{\"a\":{}}",
                Some("/a"),
                Err(NoNumber::NotThere("/a".into())),
            ),
            ("{}", Some("/a"), Err(NoNumber::NotThere("/a".into()))),
            ("<html>", Some("/a"), Err(NoNumber::NotJson)),
            (text, Some("jobs"), Ok(15.5)),
            (text, Some("jobs_total"), Ok(99.0)),
            (text, Some("other"), Ok(4.0)),
            (text, Some("job"), Err(NoNumber::NoMetric("job".into()))),
            (
                "jobs{a=\"",
                Some("jobs"),
                Err(NoNumber::NoMetric("jobs".into())),
            ),
        ];
        for (body, value, wanted) in table {
            assert_eq!(read(body, value), wanted, "{value:?} in {body:?}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_a_panic(body in ".{0,200}", value in prop::option::of("[/a-z]{1,8}")) {
            if let Ok(number) = read(&body, value.as_deref()) {
                prop_assert!(number.is_finite() && number >= 0.0);
            }
        }
    }
}
