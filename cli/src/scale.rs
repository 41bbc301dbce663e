//! What the arguments of `ps:scale` and `ps:type` mean. Pure.

use fairway_api::{
    formation::{FormationUpdate, QUANTITY_MAX, Quantity},
    names::{InvalidName, ProcessType, SizeName},
};

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
}

/// Reads `web=3`, `web=3:standard-2x`, `web+1` or `web-1`.
pub(crate) fn parse_scale(text: &str) -> Result<FormationUpdate, ScaleError> {
    if let Some((name, rest)) = text.split_once('=') {
        let (count, size) = rest
            .split_once(':')
            .map_or((rest, None), |(c, s)| (c, Some(s)));
        let count = Quantity::Exactly(quantity(count, text)?);
        let size = size.map(parse_size).transpose()?;
        return Ok(FormationUpdate {
            process_type: name.parse()?,
            quantity: Some(count),
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
        Quantity::More(step)
    } else {
        Quantity::Fewer(step)
    };
    Ok(FormationUpdate {
        process_type: name.parse()?,
        quantity: Some(count),
        size: None,
    })
}

/// Reads `web=standard-2x`.
pub(crate) fn parse_type(text: &str) -> Result<FormationUpdate, ScaleError> {
    let (name, size) = text
        .split_once('=')
        .ok_or_else(|| ScaleError::TypeShape(text.to_owned()))?;
    Ok(FormationUpdate {
        process_type: name.parse()?,
        quantity: None,
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

/// The changes of a whole command line, each process type once.
pub(crate) fn all(
    texts: &[String],
    parse: fn(&str) -> Result<FormationUpdate, ScaleError>,
) -> Result<Vec<FormationUpdate>, ScaleError> {
    let mut updates: Vec<FormationUpdate> = Vec::with_capacity(texts.len());
    for text in texts {
        let update = parse(text)?;
        if updates
            .iter()
            .any(|other| other.process_type == update.process_type)
        {
            return Err(ScaleError::Twice(update.process_type));
        }
        updates.push(update);
    }
    Ok(updates)
}

#[cfg(test)]
mod tests;
