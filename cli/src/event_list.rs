//! Events as they are listed and followed, of one app or of all.

use clap::Args;
use fairway_api::{
    client::Client,
    events::{CAUSE_TYPES, Event, EventFilter},
    names::AppName,
};
use futures_util::TryStreamExt;

use crate::{
    failure::Failure,
    log_lines::Lines,
    output::{table, time},
    session::Session,
};

/// Which events.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// How many
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 30)]
    num: usize,
    /// Go on with new ones until interrupted
    #[arg(short, long)]
    tail: bool,
    /// Only these types of causes (out-of-memory) or kinds of events (pod.crashed)
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',', value_parser = kind)]
    types: Vec<String>,
    /// Only this process (web.1) or process type (web)
    #[arg(
        short,
        long = "ps",
        visible_alias = "dyno",
        short_alias = 'd',
        value_name = "PROCESS"
    )]
    process: Option<String>,
}

/// A kind of event has a dot, a type of cause is one of a few.
fn kind(text: &str) -> Result<String, String> {
    if text.contains('.') || CAUSE_TYPES.contains(&text) {
        Ok(text.to_owned())
    } else {
        let known = CAUSE_TYPES.join(", ");
        Err(format!("a kind of event (pod.crashed), or one of {known}"))
    }
}

/// Prints events of an app, or of all, newest first; to follow, in their order.
pub(crate) async fn show(
    session: &Session,
    client: &Client,
    app: Option<&AppName>,
    wanted: Wanted,
) -> Result<(), Failure> {
    let filter = EventFilter {
        types: (!wanted.types.is_empty()).then(|| wanted.types.join(",")),
        process: wanted.process,
    };
    let mut events = match app {
        Some(app) => client.events(app, &filter).await?,
        None => client.all_events(&filter).await?,
    };
    // All there is, if nothing of this kind has happened yet.
    let after = events.first().map_or(0, |event| event.position);
    events.truncate(wanted.num);
    if !wanted.tail {
        return session
            .output
            .data(&events, |events| listed(events, app.is_none()));
    }
    for event in events.iter().rev() {
        print(event, session, app.is_none())?;
    }
    let mut stream = client.follow_events(app, &filter, Some(after)).await?;
    let mut lines = Lines::default();
    while let Some(piece) = stream.try_next().await? {
        for line in lines.take(&piece) {
            print_line(&line, session, app.is_none())?;
        }
    }
    lines
        .end()
        .map_or(Ok(()), |line| print_line(&line, session, app.is_none()))
}

fn listed(events: &[Event], of_all: bool) -> String {
    let message = |event: &Event| format!("{}{}", event.message, repeats(event));
    let app = |event: &Event| {
        let app = event.app.as_ref();
        app.map_or_else(|| "-".to_owned(), |app| app.name.to_string())
    };
    if of_all {
        let rows = events.iter().map(|event| {
            [
                time(event.updated_at),
                app(event),
                event.actor.clone(),
                event.kind.clone(),
                message(event),
            ]
        });
        return table(["AT", "APP", "BY", "WHAT", "MESSAGE"], rows);
    }
    let rows = events.iter().map(|event| {
        [
            time(event.updated_at),
            event.actor.clone(),
            event.kind.clone(),
            message(event),
        ]
    });
    table(["AT", "BY", "WHAT", "MESSAGE"], rows)
}

/// Heroku's code, and how often it was seen.
fn repeats(event: &Event) -> String {
    let code = event.code.as_ref().map(|code| format!(" ({code})"));
    let count = (event.count > 1)
        .then(|| format!(" ({} times since {})", event.count, time(event.created_at)));
    format!("{}{}", code.unwrap_or_default(), count.unwrap_or_default())
}

fn print_line(line: &str, session: &Session, of_all: bool) -> Result<(), Failure> {
    let event: Event = serde_json::from_str(line)
        .map_err(|error| Failure::failed(format!("cannot read an event: {error}")))?;
    print(&event, session, of_all)
}

/// One event on one line; its JSON without line ends.
fn print(event: &Event, session: &Session, of_all: bool) -> Result<(), Failure> {
    if session.output.json {
        let mut line = serde_json::to_string(event)
            .map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?;
        line.push('\n');
        return session.output.raw(line.as_bytes());
    }
    let app = match &event.app {
        Some(app) if of_all => format!(" {}", app.name),
        _ => String::new(),
    };
    let message = event.message.replace('\n', "; ");
    session.output.text(&format!(
        "{}{app} {}: {message}{} [{}]",
        time(event.updated_at),
        event.kind,
        repeats(event),
        event.actor
    ))
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn a_type_is_a_cause_or_a_kind() {
        assert!(kind("exit").is_ok() && kind("pod.crashed").is_ok());
        assert!(kind("crash").unwrap_err().contains("out-of-memory"));
    }
}
