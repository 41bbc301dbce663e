//! What the arguments of `ps:scale` and `ps:type` mean. Pure.

use fairway_api::{
    formation::{Formation, FormationUpdate, QUANTITY_MAX},
    names::{InvalidName, ProcessType, SizeName},
};

/// One argument: a process type and its new count, size, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scale {
    process_type: ProcessType,
    count: Option<Count>,
    size: Option<SizeName>,
}

/// How many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    Exactly(u32),
    More(u32),
    Fewer(u32),
}

/// An argument that does not say what to scale, or says too much.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ScaleError {
    #[error("{0:?} does not say what to scale: write web=3, web=3:standard-2x, web+1 or web-1")]
    Shape(String),
    #[error("{0:?} does not name a size: write web=standard-2x")]
    TypeShape(String),
    #[error("{0:?} is not a count: a process type has 0 to {QUANTITY_MAX} pods")]
    Count(String),
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error("{0} is named twice")]
    Twice(ProcessType),
    #[error("the app has no process type {wanted}; it has {}", list(.known))]
    Unknown {
        wanted: ProcessType,
        known: Vec<ProcessType>,
    },
    #[error("{process_type} has {has}, so {fewer} cannot be taken away")]
    TooFew {
        process_type: ProcessType,
        has: u32,
        fewer: u32,
    },
}

/// Reads `web=3`, `web=3:standard-2x`, `web+1` or `web-1`.
pub(crate) fn parse_scale(text: &str) -> Result<Scale, ScaleError> {
    if let Some((name, rest)) = text.split_once('=') {
        let (count, size) = rest
            .split_once(':')
            .map_or((rest, None), |(c, s)| (c, Some(s)));
        let count = Count::Exactly(quantity(count, text)?);
        let size = size.map(parse_size).transpose()?;
        return Ok(Scale {
            process_type: name.parse()?,
            count: Some(count),
            size,
        });
    }
    // A process type may have dashes itself: only the last sign counts.
    let sign = text
        .rfind(['+', '-'])
        .ok_or_else(|| ScaleError::Shape(text.to_owned()))?;
    let (name, digits) = (&text[..sign], &text[sign + 1..]);
    if name.is_empty() || digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ScaleError::Shape(text.to_owned()));
    }
    let step = quantity(digits, text)?;
    let count = if text[sign..].starts_with('+') {
        Count::More(step)
    } else {
        Count::Fewer(step)
    };
    Ok(Scale {
        process_type: name.parse()?,
        count: Some(count),
        size: None,
    })
}

/// Reads `web=standard-2x`.
pub(crate) fn parse_type(text: &str) -> Result<Scale, ScaleError> {
    let (name, size) = text
        .split_once('=')
        .ok_or_else(|| ScaleError::TypeShape(text.to_owned()))?;
    Ok(Scale {
        process_type: name.parse()?,
        count: None,
        size: Some(parse_size(size)?),
    })
}

/// A size in any letter case: Heroku writes `Standard-1X`.
pub(crate) fn parse_size(text: &str) -> Result<SizeName, InvalidName> {
    text.to_ascii_lowercase().parse()
}

fn quantity(digits: &str, whole: &str) -> Result<u32, ScaleError> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ScaleError::Shape(whole.to_owned()));
    }
    match digits.parse() {
        Ok(quantity) if quantity <= QUANTITY_MAX => Ok(quantity),
        _ => Err(ScaleError::Count(whole.to_owned())),
    }
}

/// Whether the present formation is needed to know what is wanted.
pub(crate) fn is_relative(scales: &[Scale]) -> bool {
    scales
        .iter()
        .any(|scale| matches!(scale.count, Some(Count::More(_) | Count::Fewer(_))))
}

/// The changes to ask for. `present` matters only to relative counts.
pub(crate) fn updates(
    scales: &[Scale],
    present: &[Formation],
) -> Result<Vec<FormationUpdate>, ScaleError> {
    let mut updates: Vec<FormationUpdate> = Vec::with_capacity(scales.len());
    for scale in scales {
        if updates
            .iter()
            .any(|update| update.process_type == scale.process_type)
        {
            return Err(ScaleError::Twice(scale.process_type.clone()));
        }
        updates.push(FormationUpdate {
            process_type: scale.process_type.clone(),
            quantity: scale
                .count
                .map(|count| absolute(count, scale, present))
                .transpose()?,
            size: scale.size.clone(),
        });
    }
    Ok(updates)
}

fn absolute(count: Count, scale: &Scale, present: &[Formation]) -> Result<u32, ScaleError> {
    if let Count::Exactly(quantity) = count {
        return Ok(quantity);
    }
    let process_type = scale.process_type.clone();
    let has = present
        .iter()
        .find(|row| row.process_type == process_type)
        .map(|row| row.quantity);
    let Some(has) = has else {
        let known = present.iter().map(|row| row.process_type.clone()).collect();
        return Err(ScaleError::Unknown {
            wanted: process_type,
            known,
        });
    };
    match count {
        Count::Exactly(quantity) => Ok(quantity),
        Count::More(more) if has.saturating_add(more) <= QUANTITY_MAX => Ok(has + more),
        Count::More(more) => Err(ScaleError::Count(format!("{process_type}+{more}"))),
        Count::Fewer(fewer) => has.checked_sub(fewer).ok_or(ScaleError::TooFew {
            process_type,
            has,
            fewer,
        }),
    }
}

fn list(names: &[ProcessType]) -> String {
    let names: Vec<&str> = names.iter().map(ProcessType::as_str).collect();
    if names.is_empty() {
        "none yet; push it first".into()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests;
