//! The API through its real router, on a real database.

mod access;
mod accounts;
mod apps;
mod autoscale;
mod bad_input;
mod internal;
mod lists;
mod network;
mod schema;
mod sessions;
mod streams;
mod volumes;

use serde_json::Value;

/// A body without what differs from run to run, for snapshots.
fn scrubbed(mut value: Value) -> Value {
    scrub(&mut value);
    value
}

fn scrub(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(scrub),
        Value::Object(fields) => fields.values_mut().for_each(scrub),
        Value::String(text) => {
            if text
                .parse::<uuid::Uuid>()
                .is_ok_and(|id| matches!(id.get_version_num(), 7 | 8))
            {
                *text = "[id]".into();
            } else if chrono::DateTime::parse_from_rfc3339(text).is_ok() {
                *text = "[time]".into();
            } else if let Some((before, _)) = text.split_once("/streams/") {
                *text = format!("{before}/streams/[signed]");
            } else if text.starts_with("fw_") {
                *text = "[token]".into();
            } else if text.starts_with("apps/") {
                *text = "apps/[id]".into();
            }
        }
        _ => {}
    }
}
