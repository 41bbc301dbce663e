//! What stands after the flags of `autoscale:set`: targets, queues and windows as people write them.

use fairway_api::{
    autoscale::{Queue, Window},
    names::ConfigName,
};
use url::Url;

/// A target, or that there should be none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target(pub(super) Option<u32>);

/// A queue's URL, or that there should be none.
#[derive(Debug, Clone)]
pub(super) struct QueueUrl(pub(super) Option<Url>);

/// One window, or that there should be none.
#[derive(Debug, Clone)]
pub(super) struct OneWindow(pub(super) Option<Window>);

/// What is asked of the queue; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub(super) struct QueueChange {
    pub(super) url: Option<QueueUrl>,
    pub(super) target: Option<u32>,
    pub(super) value: Option<String>,
    pub(super) headers: Vec<(String, ConfigName)>,
}

fn target(
    text: &str,
    parse: impl FnOnce(&str) -> Option<u32>,
    form: &str,
) -> Result<Target, String> {
    match text {
        "off" => Ok(Target(None)),
        _ => match parse(text) {
            Some(value) => Ok(Target(Some(value))),
            None => Err(format!("write {form}, or off")),
        },
    }
}

pub(super) fn percent(text: &str) -> Result<Target, String> {
    let parse = |text: &str| text.strip_suffix('%').unwrap_or(text).parse().ok();
    target(text, parse, "percent as a number, such as 70")
}

pub(super) fn number(text: &str) -> Result<Target, String> {
    target(text, |text| text.parse().ok(), "a number")
}

pub(super) fn millis(text: &str) -> Result<Target, String> {
    let parse = |text: &str| match text.strip_suffix("ms") {
        Some(millis) => millis.parse().ok(),
        None => text
            .strip_suffix('s')?
            .parse::<u32>()
            .ok()?
            .checked_mul(1_000),
    };
    target(text, parse, "a time with its unit, such as 300ms or 2s")
}

pub(super) fn queue_url(text: &str) -> Result<QueueUrl, String> {
    match text {
        "off" => Ok(QueueUrl(None)),
        _ => match text.parse() {
            Ok(url) => Ok(QueueUrl(Some(url))),
            Err(error) => Err(format!("{error}; write a URL, or off")),
        },
    }
}

pub(super) fn header(text: &str) -> Result<(String, ConfigName), String> {
    let (name, var) = text.split_once('=').ok_or("write HEADER=CONFIG_VAR")?;
    let var = var.parse().map_err(|error| format!("{error}"))?;
    Ok((name.to_owned(), var))
}

/// `mon-fri 08:00-18:00 Europe/Berlin 3-10`; the zone may be left out, and one of the bounds.
pub(super) fn window(text: &str) -> Result<OneWindow, String> {
    const FORM: &str = "write DAYS FROM-TO ZONE MIN-MAX, such as \"mon-fri 08:00-18:00 \
                        Europe/Berlin 3-10\", or off";
    if text == "off" {
        return Ok(OneWindow(None));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let (days, times, zone, bounds) = match words[..] {
        [days, times, zone, bounds] => (days, times, zone, bounds),
        [days, times, bounds] => (days, times, "UTC", bounds),
        _ => return Err(FORM.into()),
    };
    let (from, to) = times.split_once('-').ok_or(FORM)?;
    let (min, max) = bounds.split_once('-').ok_or(FORM)?;
    let bound = |text: &str| match text {
        "" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| FORM),
    };
    let told = |error: fairway_api::autoscale::InvalidWindow| error.to_string();
    Ok(OneWindow(Some(Window {
        days: days.parse().map_err(told)?,
        from: from.parse().map_err(told)?,
        to: to.parse().map_err(told)?,
        zone: zone.to_owned(),
        min: bound(min)?,
        max: bound(max)?,
    })))
}

impl QueueChange {
    /// The queue from now on; `Err` says what is missing for a first one.
    pub(super) fn merged(self, before: Option<Queue>) -> Result<Option<Queue>, &'static str> {
        let url = match (self.url, &before) {
            (Some(QueueUrl(None)), _) => return Ok(None),
            (Some(QueueUrl(Some(url))), _) => url,
            (None, Some(before)) => before.url.clone(),
            (None, None) if self.target.is_none() && self.value.is_none() => return Ok(None),
            (None, None) => return Err("the queue needs a URL: --queue URL"),
        };
        let target = self.target.or(before.as_ref().map(|it| it.target));
        let (value, headers) = before.map(|it| (it.value, it.headers)).unwrap_or_default();
        Ok(Some(Queue {
            url,
            target: target.ok_or("say how many jobs one process takes on: --queue-target COUNT")?,
            value: match self.value {
                None => value,
                Some(text) => Some(text).filter(|text| !text.is_empty()),
            },
            headers: match self.headers.is_empty() {
                true => headers,
                false => self.headers.into_iter().collect(),
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_as_people_write_them() {
        let read = |text: &str| window(text).unwrap().0.unwrap();
        let full = read("mon-fri 08:00-18:00 Europe/Berlin 3-10");
        assert_eq!(full.to_string(), "mon-fri 08:00-18:00 Europe/Berlin");
        assert_eq!((full.min, full.max), (Some(3), Some(10)));
        let short = read("sat,sun 22:00-06:00 -2");
        assert_eq!(
            (short.zone.as_str(), short.min, short.max),
            ("UTC", None, Some(2))
        );
        assert!(window("off").unwrap().0.is_none());
        for wrong in [
            "",
            "mon-fri",
            "mon-fri 8-18 3-10",
            "mon-fri 08:00-18:00 x",
            "x 08:00-18:00 3-",
        ] {
            assert!(window(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_queue_keeps_what_is_not_named() {
        let url = QueueUrl("https://q.example.com/".parse().ok());
        let first = QueueChange {
            url: Some(url.clone()),
            target: Some(10),
            value: Some("/n".into()),
            headers: vec![header("X-Key=KEY").unwrap()],
        };
        let first = first.merged(None).unwrap();
        let more = QueueChange {
            target: Some(20),
            value: Some(String::new()),
            ..QueueChange::default()
        };
        let then = more.merged(first.clone()).unwrap().unwrap();
        assert_eq!(
            (then.target, &then.value, then.headers.len()),
            (20, &None, 1)
        );
        assert_eq!(QueueChange::default().merged(first.clone()).unwrap(), first);
        let off = QueueChange {
            url: Some(QueueUrl(None)),
            ..QueueChange::default()
        };
        assert_eq!(off.merged(first).unwrap(), None);
        let untold = QueueChange {
            url: Some(url),
            ..QueueChange::default()
        };
        assert!(untold.merged(None).is_err());
        assert!(header("no sign").is_err());
    }
}
