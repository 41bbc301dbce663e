//! What a machine's labels must be: `disk`, `!spot`, `disk=ssd`, `zone in (a, b)`,
//! `zone not in (c)`, `cores>8`. The forms of Kubernetes' label selectors, one expression each.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Labels;
use crate::names::{LabelKey, LabelValue};

/// The most values that `in` may list.
const VALUES_MAX: usize = 32;
/// The longest expression, in bytes.
const EXPRESSION_BYTES_MAX: usize = 2_048;
/// How much of a refused text an error repeats, in characters.
const QUOTED_CHARS_MAX: usize = 80;

/// A condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expression {
    pub key: LabelKey,
    pub condition: Condition,
}

/// What a label's value must be. A label that is not there satisfies only the negative ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Condition {
    /// `key`
    Exists,
    /// `!key`
    NotExists,
    /// `key=value`, `key in (one, other)`; one value at least.
    In(BTreeSet<LabelValue>),
    /// `key!=value`, `key not in (one, other)`
    NotIn(BTreeSet<LabelValue>),
    /// `key>4`: a whole number above it.
    Above(i64),
    /// `key<4`: a whole number below it.
    Below(i64),
}

/// A text that is no [`Expression`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not valid: {rule}")]
pub struct InvalidExpression {
    text: String,
    rule: String,
}

const FORM: &str = "write KEY, !KEY, KEY=VALUE, KEY!=VALUE, KEY in (ONE, OTHER), KEY not in \
                    (ONE, OTHER), KEY>NUMBER or KEY<NUMBER";

impl Expression {
    /// True if a machine with these labels satisfies it.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        let number = || value.and_then(|value| value.as_str().parse::<i64>().ok());
        match &self.condition {
            Condition::Exists => value.is_some(),
            Condition::NotExists => value.is_none(),
            Condition::In(values) => value.is_some_and(|value| values.contains(value)),
            Condition::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Condition::Above(least) => number().is_some_and(|number| number > *least),
            Condition::Below(most) => number().is_some_and(|number| number < *most),
        }
    }

    /// True if no labels can satisfy both.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        self.key == other.key
            && (self.condition.excludes(&other.condition)
                || other.condition.excludes(&self.condition))
    }
}

impl Condition {
    fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::NotExists, Self::Exists | Self::In(_) | Self::Above(_) | Self::Below(_)) => true,
            (Self::In(values), Self::In(others)) => values.is_disjoint(others),
            (Self::In(values), Self::NotIn(others)) => values.is_subset(others),
            (Self::In(values), Self::Above(least)) => !any_number(values, |it| it > *least),
            (Self::In(values), Self::Below(most)) => !any_number(values, |it| it < *most),
            // A whole number must lie between the two.
            (Self::Above(least), Self::Below(most)) => most.saturating_sub(1) <= *least,
            _ => false,
        }
    }
}

fn any_number(values: &BTreeSet<LabelValue>, holds: impl Fn(i64) -> bool) -> bool {
    values
        .iter()
        .any(|value| value.as_str().parse().is_ok_and(&holds))
}

impl FromStr for Expression {
    type Err = InvalidExpression;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |rule: &dyn fmt::Display| InvalidExpression {
            text: text.chars().take(QUOTED_CHARS_MAX).collect(),
            rule: rule.to_string(),
        };
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(invalid(&format!(
                "it is longer than {EXPRESSION_BYTES_MAX} bytes"
            )));
        }
        let (key, condition) = split(text.trim()).map_err(|rule| invalid(&rule))?;
        let key = key.trim().parse().map_err(|_| invalid(&FORM))?;
        Ok(Self { key, condition })
    }
}

fn split(text: &str) -> Result<(&str, Condition), String> {
    if let Some(key) = text.strip_prefix('!') {
        return Ok((key, Condition::NotExists));
    }
    if let Some(listed) = text.strip_suffix(')') {
        let (head, values) = listed.split_once('(').ok_or(FORM)?;
        let values = values.split(',').map(one).collect::<Result<_, _>>()?;
        let head = head.trim_end();
        let key = head.strip_suffix(" in").ok_or(FORM)?;
        return match key.trim_end().strip_suffix(" not") {
            Some(key) => Ok((key, Condition::NotIn(bounded(values)?))),
            None => Ok((key, Condition::In(bounded(values)?))),
        };
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Ok((key, Condition::NotIn([one(value)?].into())));
    }
    if let Some((key, value)) = text.split_once('=') {
        return Ok((key, Condition::In([one(value)?].into())));
    }
    if let Some((key, number)) = text.split_once('>') {
        return Ok((key, Condition::Above(whole(number)?)));
    }
    if let Some((key, number)) = text.split_once('<') {
        return Ok((key, Condition::Below(whole(number)?)));
    }
    Ok((text, Condition::Exists))
}

fn one(value: &str) -> Result<LabelValue, String> {
    value
        .trim()
        .parse()
        .map_err(|why: crate::names::InvalidName| why.to_string())
}

fn bounded(values: BTreeSet<LabelValue>) -> Result<BTreeSet<LabelValue>, String> {
    if values.len() > VALUES_MAX {
        return Err(format!("it lists more than {VALUES_MAX} values"));
    }
    Ok(values)
}

fn whole(number: &str) -> Result<i64, String> {
    let number = number.trim();
    number
        .parse()
        .map_err(|_| format!("{number:?} is not a whole number"))
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.condition {
            Condition::Exists => write!(f, "{key}"),
            Condition::NotExists => write!(f, "!{key}"),
            Condition::In(values) if values.len() == 1 => write!(f, "{key}={}", list(values)),
            Condition::NotIn(values) if values.len() == 1 => write!(f, "{key}!={}", list(values)),
            Condition::In(values) => write!(f, "{key} in ({})", list(values)),
            Condition::NotIn(values) => write!(f, "{key} not in ({})", list(values)),
            Condition::Above(number) => write!(f, "{key}>{number}"),
            Condition::Below(number) => write!(f, "{key}<{number}"),
        }
    }
}

fn list(values: &BTreeSet<LabelValue>) -> String {
    let values: Vec<&str> = values.iter().map(LabelValue::as_str).collect();
    values.join(", ")
}

impl TryFrom<String> for Expression {
    type Error = InvalidExpression;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Expression> for String {
    fn from(expression: Expression) -> Self {
        expression.to_string()
    }
}
