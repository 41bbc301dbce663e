//! Wanted count and size per process type (Platform API: `formation`).

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    apps::AppRef,
    ids::FormationId,
    names::{ProcessType, SizeName},
};

/// How much of a refused quantity an error repeats, in characters.
const QUOTED_CHARS_MAX: usize = 80;

/// The most pods of one process type.
pub const QUANTITY_MAX: u32 = 1_000;

/// `GET /apps/{app}/formation`: one process type. It outlives releases; scaling is no deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formation {
    pub id: FormationId,
    pub app: AppRef,
    #[serde(rename = "type")]
    pub process_type: ProcessType,
    pub command: String,
    pub quantity: u32,
    pub size: SizeName,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// `PATCH /apps/{app}/formation`: all updates take effect together or none does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FormationBatch {
    pub updates: Vec<FormationUpdate>,
}

/// One process type's new count, size, or both.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FormationUpdate {
    #[serde(rename = "type")]
    pub process_type: ProcessType,
    pub quantity: Option<Quantity>,
    pub size: Option<SizeName>,
}

/// `PATCH /apps/{app}/formation/{type}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FormationPatch {
    pub quantity: Option<Quantity>,
    pub size: Option<SizeName>,
}

/// A wanted count: a number, or, as text, also a step from the present one (`"+1"`, `"-2"`).
/// Steps are taken where the count is kept, so two at once both count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub enum Quantity {
    Exactly(u32),
    More(u32),
    Fewer(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "a quantity is a number, or a text like \"3\", \"+1\" or \"-1\""
)]
enum Wire {
    Number(u32),
    Text(String),
}

/// A text that is no [`Quantity`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the quantity {0:?} is not valid: it is a number, or a text like \"3\", \"+1\" or \"-1\"")]
pub struct InvalidQuantity(String);

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (made, digits): (fn(u32) -> Self, _) = match text.split_at_checked(1) {
            Some(("+", digits)) => (Self::More, digits),
            Some(("-", digits)) => (Self::Fewer, digits),
            _ => (Self::Exactly, text),
        };
        // `parse` alone takes a sign, so that "++1" were a step.
        let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse().ok().filter(|_| all_digits);
        number
            .map(made)
            .ok_or_else(|| InvalidQuantity(text.chars().take(QUOTED_CHARS_MAX).collect()))
    }
}

impl TryFrom<Wire> for Quantity {
    type Error = InvalidQuantity;

    fn try_from(wire: Wire) -> Result<Self, Self::Error> {
        match wire {
            Wire::Number(number) => Ok(Self::Exactly(number)),
            Wire::Text(text) => text.parse(),
        }
    }
}

impl From<Quantity> for Wire {
    fn from(quantity: Quantity) -> Self {
        match quantity {
            Quantity::Exactly(number) => Self::Number(number),
            step => Self::Text(step.to_string()),
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(number) => write!(f, "{number}"),
            Self::More(step) => write!(f, "+{step}"),
            Self::Fewer(step) => write!(f, "-{step}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_come_as_numbers_and_as_text() {
        for (json, expect) in [
            ("3", Some(Quantity::Exactly(3))),
            ("\"3\"", Some(Quantity::Exactly(3))),
            ("\"+1\"", Some(Quantity::More(1))),
            ("\"-2\"", Some(Quantity::Fewer(2))),
            ("-1", None),
            ("1.5", None),
            ("\"\"", None),
            ("\"+\"", None),
            ("\"++1\"", None),
            ("\"1x\"", None),
            ("\"99999999999\"", None),
            ("true", None),
        ] {
            let read = serde_json::from_str::<Quantity>(json);
            assert_eq!(read.as_ref().ok(), expect.as_ref(), "{json}");
            match read {
                Ok(quantity) => {
                    let written = serde_json::to_string(&quantity).unwrap();
                    assert_eq!(
                        serde_json::from_str::<Quantity>(&written).unwrap(),
                        quantity
                    );
                }
                Err(error) => assert!(error.to_string().contains("\"+1\""), "{json}: {error}"),
            }
        }
    }
}
