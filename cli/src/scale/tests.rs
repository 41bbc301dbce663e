use super::*;

fn shown(text: &str) -> String {
    match parse_scale(text) {
        Ok(scale) => {
            let count = match scale.count {
                Some(Count::Exactly(count)) => format!("={count}"),
                Some(Count::More(count)) => format!("+{count}"),
                Some(Count::Fewer(count)) => format!("-{count}"),
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

fn row(process_type: &str, quantity: u32) -> Formation {
    let at = chrono::DateTime::UNIX_EPOCH;
    Formation {
        id: fairway_api::ids::FormationId::from_u128(1),
        app: fairway_api::apps::AppRef {
            id: fairway_api::ids::AppId::from_u128(2),
            name: "shop".parse().unwrap(),
        },
        process_type: process_type.parse().unwrap(),
        command: "run".into(),
        quantity,
        size: "standard-1x".parse().unwrap(),
        created_at: at,
        updated_at: at,
    }
}

#[test]
fn changes_become_counts() {
    let present = [row("web", 3), row("worker", 0)];
    for (changes, expect) in [
        (&["web=1"][..], "web Some(1) None"),
        (
            &["web+2", "worker=1:nano"],
            "web Some(5) None, worker Some(1) Some(nano)",
        ),
        (&["web-3"], "web Some(0) None"),
        (&["web-4"], "web has 3, so 4 cannot be taken away"),
        (
            &["web+998"],
            "\"web+998\" is not a count: a process type has 0 to 1000 pods",
        ),
        (&["web=1", "web+1"], "web is named twice"),
        (
            &["cron+1"],
            "the app has no process type cron; it has web, worker",
        ),
        // Whether a type exists is the server's to say where we need not know.
        (&["cron=1"], "cron Some(1) None"),
    ] {
        let scales: Vec<Scale> = changes
            .iter()
            .map(|text| parse_scale(text).unwrap())
            .collect();
        let shown = match updates(&scales, &present) {
            Ok(updates) => updates
                .iter()
                .map(|update| {
                    let size = update.size.as_ref().map(|size| size.as_str().to_owned());
                    format!("{} {:?} {size:?}", update.process_type, update.quantity)
                })
                .collect::<Vec<_>>()
                .join(", ")
                .replace('"', ""),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expect, "{changes:?}");
    }
}

#[test]
fn sizes_are_read() {
    assert!(parse_type("web=Standard-2X").is_ok());
    for text in ["web", "web=", "=nano", "web=1:nano"] {
        assert!(parse_type(text).is_err(), "{text}");
    }
}
