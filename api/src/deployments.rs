//! How an app moves from one release to the next: the strategy, and the public resource
//! `/apps/{app}/deployments`. Ours; Heroku has no counterpart.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ids::{DeploymentId, ReleaseId};

/// The longest that an old set of pods may be kept warm, in seconds: it takes the place of others.
pub const BAKE_SECS_MAX: u32 = 24 * 60 * 60;
/// The most steps of a canary; each is a table for all routers and a line for whoever waits.
pub const CANARY_STEPS_MAX: usize = 10;
/// The shortest and the longest step of a canary, in seconds. Routers count in heartbeats, and
/// somebody may wait.
pub const CANARY_STEP_SECS_MIN: u32 = 10;
pub const CANARY_STEP_SECS_MAX: u32 = 6 * 60 * 60;
/// The longest that all steps of a canary may take together, in seconds: a push waits for them.
pub const CANARY_SECS_MAX: u32 = 24 * 60 * 60;
/// The most pods that may start, or be missing, at once beyond what is wanted.
pub const SHARE_COUNT_MAX: u32 = 100;

/// How an app's next release takes over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Strategy {
    /// All new pods start beside the old ones, then all requests move at once.
    AllAtOnce {
        /// How long the old web pods stay up afterwards, for a revert without a start; 0: not.
        #[serde(default)]
        bake_secs: u32,
    },
    /// Pods are replaced a few at a time; both releases serve meanwhile.
    Rolling {
        /// Pods beyond the wanted count.
        #[serde(default = "one")]
        surge: Share,
        /// Pods that may be missing from the wanted count.
        #[serde(default = "none")]
        unavailable: Share,
    },
    /// A growing share of requests goes to the new release, as long as it does no worse.
    Canary {
        /// The shares and how long each is watched; after the last one all requests move.
        steps: Vec<CanaryStep>,
        #[serde(default)]
        limits: CanaryLimits,
        /// As above.
        #[serde(default)]
        bake_secs: u32,
    },
}

/// One step of a canary: `5%:10m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryStep {
    /// Share of the requests, 1 to 99.
    pub percent: u8,
    /// How long it is watched, in seconds.
    pub secs: u32,
}

/// What a canary may do worse than the pods that serve beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CanaryLimits {
    /// Requests that each side must have had before it is judged.
    pub requests_min: u32,
    /// Errors beyond the others' error rate, in percent of the requests.
    pub errors_percent: u8,
    /// How much longer its 95th percentile may take, in percent of the others'.
    pub slower_percent: u32,
}

impl Default for CanaryLimits {
    fn default() -> Self {
        Self {
            // Below, one unlucky request counts for more than two percent.
            requests_min: 50,
            errors_percent: 1,
            // Pods that have just started are slower for a while.
            slower_percent: 100,
        }
    }
}

/// A number of pods: `2`, or `25%` of those wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Share {
    Count(u32),
    Percent(u8),
}

fn one() -> Share {
    Share::Count(1)
}

fn none() -> Share {
    Share::Count(0)
}

/// Why a text is no strategy, or a strategy cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrategyError {
    #[error("{0:?} is no number of pods: write a count up to {SHARE_COUNT_MAX}, or 1% to 100%")]
    Share(String),
    #[error("{0:?} is no step of a canary: write the percent and the time, as 5%:10m")]
    Step(String),
    #[error("surge and unavailable cannot both be 0: nothing could be replaced")]
    Stuck,
    #[error("a canary has 1 to {CANARY_STEPS_MAX} steps")]
    Steps,
    #[error("the percentages of a canary grow, from 1 to 99")]
    Percent,
    #[error("a step of a canary takes {CANARY_STEP_SECS_MIN} s to {CANARY_STEP_SECS_MAX} s")]
    StepSecs,
    #[error("all steps of a canary together take at most {CANARY_SECS_MAX} s")]
    CanarySecs,
    #[error("the old pods are kept for at most {BAKE_SECS_MAX} s")]
    Bake,
}

impl Default for Strategy {
    fn default() -> Self {
        Self::AllAtOnce { bake_secs: 0 }
    }
}

impl Strategy {
    /// Whether it can be carried out.
    pub fn check(&self) -> Result<(), StrategyError> {
        if self.bake_secs() > BAKE_SECS_MAX {
            return Err(StrategyError::Bake);
        }
        match self {
            Self::AllAtOnce { .. } => Ok(()),
            Self::Rolling { surge, unavailable } => {
                let nothing = |share: &Share| matches!(share, Share::Count(0));
                if nothing(surge) && nothing(unavailable) {
                    return Err(StrategyError::Stuck);
                }
                Ok(())
            }
            Self::Canary { steps, .. } => check_steps(steps),
        }
    }

    /// How long the old web pods stay up after the move, in seconds.
    pub fn bake_secs(&self) -> u32 {
        match self {
            Self::AllAtOnce { bake_secs } | Self::Canary { bake_secs, .. } => *bake_secs,
            Self::Rolling { .. } => 0,
        }
    }

    /// The steps of a canary; none of another strategy.
    pub fn steps(&self) -> &[CanaryStep] {
        match self {
            Self::Canary { steps, .. } => steps,
            _ => &[],
        }
    }
}

fn check_steps(steps: &[CanaryStep]) -> Result<(), StrategyError> {
    if steps.is_empty() || steps.len() > CANARY_STEPS_MAX {
        return Err(StrategyError::Steps);
    }
    let mut before = 0;
    for step in steps {
        if step.percent <= before || step.percent > 99 {
            return Err(StrategyError::Percent);
        }
        before = step.percent;
        if !(CANARY_STEP_SECS_MIN..=CANARY_STEP_SECS_MAX).contains(&step.secs) {
            return Err(StrategyError::StepSecs);
        }
    }
    if steps.iter().map(|step| step.secs).sum::<u32>() > CANARY_SECS_MAX {
        return Err(StrategyError::CanarySecs);
    }
    Ok(())
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllAtOnce { .. } => f.write_str("all at once")?,
            Self::Rolling { surge, unavailable } => {
                write!(f, "rolling, surge {surge}, unavailable {unavailable}")?;
            }
            Self::Canary { steps, .. } => {
                f.write_str("canary")?;
                for step in steps {
                    write!(f, " {step}")?;
                }
            }
        }
        match self.bake_secs() {
            0 => Ok(()),
            secs => write!(f, ", bake {}", span(secs)),
        }
    }
}

impl Share {
    /// How many of `wanted` pods these are, rounded up.
    pub fn of_rounded_up(self, wanted: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => percent_of(percent, wanted),
        }
    }

    /// The same, rounded down.
    pub fn of_rounded_down(self, wanted: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => share(percent, wanted, 0),
        }
    }
}

/// A percentage of `wanted`, rounded up.
pub fn percent_of(percent: u8, wanted: u32) -> u32 {
    share(percent, wanted, 99)
}

fn share(percent: u8, wanted: u32, add: u64) -> u32 {
    let part = (u64::from(wanted) * u64::from(percent) + add) / 100;
    u32::try_from(part).unwrap_or(u32::MAX)
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for Share {
    type Err = StrategyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let share = match text.strip_suffix('%') {
            Some(percent) => (percent.parse().ok())
                .filter(|percent| (1..=100).contains(percent))
                .map(Self::Percent),
            None => (text.parse().ok())
                .filter(|count| *count <= SHARE_COUNT_MAX)
                .map(Self::Count),
        };
        share.ok_or_else(|| StrategyError::Share(text.into()))
    }
}

impl TryFrom<String> for Share {
    type Error = StrategyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> Self {
        share.to_string()
    }
}

impl fmt::Display for CanaryStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%:{}", self.percent, span(self.secs))
    }
}

impl FromStr for CanaryStep {
    type Err = StrategyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let step = text.split_once("%:").and_then(|(percent, span)| {
            Some(Self {
                percent: percent.parse().ok()?,
                secs: parse_span(span)?,
            })
        });
        step.ok_or_else(|| StrategyError::Step(text.into()))
    }
}

/// Seconds as people write them: `90s`, `10m`, `1h`.
pub fn span(secs: u32) -> String {
    match secs {
        0 => "0s".into(),
        secs if secs.is_multiple_of(3600) => format!("{}h", secs / 3600),
        secs if secs.is_multiple_of(60) => format!("{}m", secs / 60),
        secs => format!("{secs}s"),
    }
}

/// The other way round; a number without a unit counts as seconds.
pub fn parse_span(text: &str) -> Option<u32> {
    let (number, unit) = match text.as_bytes().last()? {
        b's' => (&text[..text.len() - 1], 1),
        b'm' => (&text[..text.len() - 1], 60),
        b'h' => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    number.parse::<u32>().ok()?.checked_mul(unit)
}

/// `GET /apps/{app}/deployments`: one move of the app to a release, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    pub id: DeploymentId,
    pub release: DeployedRelease,
    pub strategy: Strategy,
    /// The word of its state, as `starting` or `canary`.
    pub state: String,
    /// One sentence on where it stands.
    pub detail: String,
    /// What somebody asked of it last.
    pub wish: Option<Wish>,
    /// What may be asked of it now.
    pub actions: Vec<WishKind>,
    /// When its state ends at the latest; null for one that has ended.
    pub deadline_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// The release that a deployment moves to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployedRelease {
    pub id: ReleaseId,
    pub version: u64,
}

/// What somebody asked of a deployment under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    pub kind: WishKind,
    /// Who: an account's email.
    pub by: String,
}

/// `POST /apps/{app}/deployments/{id}/actions/{kind}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WishKind {
    /// Stay as it is, until resumed or until the limit for that.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Move all requests now, without the steps that are left.
    Promote,
    /// Go back to the release before.
    Abort,
}

impl WishKind {
    /// The word in the path.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Promote => "promote",
            Self::Abort => "abort",
        }
    }
}

impl fmt::Display for WishKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for WishKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Pause, Self::Resume, Self::Promote, Self::Abort];
        all.into_iter().find(|kind| kind.word() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests;
