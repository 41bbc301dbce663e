//! What a machine holds against pods, and which pods bear it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::names::{LabelKey, LabelValue};

/// Keeps pods off a machine that do not bear it: `dedicated=db:no-schedule`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Taint {
    pub key: LabelKey,
    /// May be empty.
    pub value: LabelValue,
    pub effect: TaintEffect,
}

/// What becomes of pods that do not bear a taint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaintEffect {
    /// They come only when no other machine takes them.
    PreferNoSchedule,
    /// No new ones come; those that run stay.
    NoSchedule,
    /// No new ones come, and those that run move elsewhere.
    NoExecute,
}

/// A taint that pods bear: `dedicated=db:no-schedule`, `dedicated=db`, `dedicated`, or `*` for
/// every one. What is left out may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Toleration {
    pub key: Option<LabelKey>,
    pub value: Option<LabelValue>,
    pub effect: Option<TaintEffect>,
}

/// A text that is no taint or toleration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not valid: {rule}")]
pub struct InvalidTaint {
    text: String,
    rule: String,
}

const TAINT_FORM: &str = "write KEY=VALUE:EFFECT or KEY:EFFECT with the effect no-schedule, prefer-no-schedule or \
     no-execute";
const TOLERATION_FORM: &str = "write KEY, KEY=VALUE, either with :no-schedule, :prefer-no-schedule or :no-execute behind \
     it, or * for every taint";
/// How much of a refused text an error repeats, in characters.
const QUOTED_CHARS_MAX: usize = 80;

impl Toleration {
    /// True if these pods bear the taint.
    pub fn bears(&self, taint: &Taint) -> bool {
        self.key.as_ref().is_none_or(|key| *key == taint.key)
            && self
                .value
                .as_ref()
                .is_none_or(|value| *value == taint.value)
            && self.effect.is_none_or(|effect| effect == taint.effect)
    }
}

fn invalid(text: &str, rule: impl ToString) -> InvalidTaint {
    InvalidTaint {
        text: text.chars().take(QUOTED_CHARS_MAX).collect(),
        rule: rule.to_string(),
    }
}

impl FromStr for TaintEffect {
    type Err = InvalidTaint;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "no-schedule" => Self::NoSchedule,
            "prefer-no-schedule" => Self::PreferNoSchedule,
            "no-execute" => Self::NoExecute,
            _ => {
                return Err(invalid(
                    text,
                    "an effect is no-schedule, prefer-no-schedule or no-execute",
                ));
            }
        })
    }
}

impl fmt::Display for TaintEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSchedule => "no-schedule",
            Self::PreferNoSchedule => "prefer-no-schedule",
            Self::NoExecute => "no-execute",
        })
    }
}

impl FromStr for Taint {
    type Err = InvalidTaint;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (what, effect) = text
            .rsplit_once(':')
            .ok_or_else(|| invalid(text, TAINT_FORM))?;
        let (key, value) = what.split_once('=').unwrap_or((what, ""));
        Ok(Self {
            key: key.parse().map_err(|why| invalid(text, why))?,
            value: value.parse().map_err(|why| invalid(text, why))?,
            effect: effect.parse().map_err(|_| invalid(text, TAINT_FORM))?,
        })
    }
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, value, effect } = self;
        if value.as_str().is_empty() {
            write!(f, "{key}:{effect}")
        } else {
            write!(f, "{key}={value}:{effect}")
        }
    }
}

impl FromStr for Toleration {
    type Err = InvalidTaint;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (what, effect) = match text.rsplit_once(':') {
            Some((what, effect)) => {
                let effect = effect.parse().map_err(|_| invalid(text, TOLERATION_FORM))?;
                (what, Some(effect))
            }
            None => (text, None),
        };
        if what == "*" {
            return Ok(Self {
                key: None,
                value: None,
                effect,
            });
        }
        let (key, value) = match what.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (what, None),
        };
        let value = value.map(str::parse).transpose();
        Ok(Self {
            key: Some(key.parse().map_err(|_| invalid(text, TOLERATION_FORM))?),
            value: value.map_err(|why| invalid(text, why))?,
            effect,
        })
    }
}

impl fmt::Display for Toleration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key.as_ref().map_or("*", LabelKey::as_str))?;
        if let Some(value) = &self.value {
            write!(f, "={value}")?;
        }
        match self.effect {
            Some(effect) => write!(f, ":{effect}"),
            None => Ok(()),
        }
    }
}

macro_rules! as_text {
    ($($name:ident)+) => {$(
        impl TryFrom<String> for $name {
            type Error = InvalidTaint;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(it: $name) -> Self {
                it.to_string()
            }
        }
    )+};
}

as_text! { Taint Toleration }
