use super::*;

fn shown(text: &str) -> String {
    match parse_scale(text) {
        Ok(scale) => {
            let count = match scale.quantity {
                Some(Quantity::Exactly(count)) => format!("={count}"),
                Some(step) => step.to_string(),
                None => String::new(),
            };
            let size = scale
                .size
                .map(|size| format!(":{size}"))
                .unwrap_or_default();
            format!("{}{count}{size}", scale.process_type)
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn changes_are_read() {
    for (text, expect) in [
        ("web=3", "web=3"),
        ("web=0", "web=0"),
        ("web=1000", "web=1000"),
        ("worker=2:standard-2x", "worker=2:standard-2x"),
        ("web=1:Standard-1X", "web=1:standard-1x"),
        ("web+1", "web+1"),
        ("web-2", "web-2"),
        ("low-priority-1", "low-priority-1"),
        ("low-priority=1", "low-priority=1"),
    ] {
        assert_eq!(shown(text), expect, "{text}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (text, expect) in [
        ("", "does not say what to scale"),
        ("web", "does not say what to scale"),
        ("web=", "does not say what to scale"),
        ("web=three", "does not say what to scale"),
        ("web=-1", "does not say what to scale"),
        ("web=+1", "does not say what to scale"),
        ("web=1.5", "does not say what to scale"),
        ("web+", "does not say what to scale"),
        ("+1", "does not say what to scale"),
        ("=1", "process type \"\" is not valid"),
        ("web=1001", "is not a count"),
        ("web=99999999999999999999", "is not a count"),
        ("web+1001", "is not a count"),
        ("Web=1", "process type \"Web\" is not valid"),
        ("run=1", "taken by Fairway"),
        ("web=1:", "size \"\" is not valid"),
        ("web=1:a b", "size \"a b\" is not valid"),
    ] {
        assert!(shown(text).contains(expect), "{text}: {}", shown(text));
    }
}

#[test]
fn a_process_type_is_changed_once() {
    for (changes, expect) in [
        (&["web=1", "worker+2", "cron=1:nano"][..], Ok(3)),
        (&["web=1", "web+1"], Err("web is named twice")),
        (&["web=1", "x"], Err("does not say what to scale")),
    ] {
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        match (all(&changes, parse_scale), expect) {
            (Ok(updates), Ok(count)) => assert_eq!(updates.len(), count, "{changes:?}"),
            (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{error}"),
            (got, _) => panic!("{changes:?}: {got:?}"),
        }
    }
}

#[test]
fn sizes_are_read() {
    assert!(parse_type("web=Standard-2X").is_ok());
    for text in ["web", "web=", "=nano", "web=1:nano"] {
        assert!(parse_type(text).is_err(), "{text}");
    }
}
