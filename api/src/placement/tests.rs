use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pair = |(key, value): &(&str, &str)| (key.parse().unwrap(), value.parse().unwrap());
    pairs.iter().map(pair).collect()
}

#[test]
fn expressions_read_as_they_are_written_and_match_by_their_words() {
    let machine = labels(&[("zone", "a"), ("cores", "8"), ("disk", "")]);
    for (text, written, matches) in [
        ("zone", "zone", true),
        ("gpu", "gpu", false),
        ("!gpu", "!gpu", true),
        ("!zone", "!zone", false),
        ("zone=a", "zone=a", true),
        (" zone = a ", "zone=a", true),
        ("zone=b", "zone=b", false),
        ("zone!=b", "zone!=b", true),
        ("gpu!=b", "gpu!=b", true),
        ("zone in (b, a)", "zone in (a, b)", true),
        ("zone in (a)", "zone=a", true),
        ("zone not in (b,c)", "zone not in (b, c)", true),
        ("zone not in (a)", "zone!=a", false),
        ("cores>7", "cores>7", true),
        ("cores>8", "cores>8", false),
        ("cores<9", "cores<9", true),
        ("zone>1", "zone>1", false),
        ("gpu<1", "gpu<1", false),
        ("disk=", "disk=", true),
    ] {
        let expression: Expression = text.parse().unwrap();
        assert_eq!(expression.to_string(), written);
        assert_eq!(expression.matches(&machine), matches, "{text}");
        assert_eq!(written.parse::<Expression>().unwrap(), expression);
    }
}

#[test]
fn what_is_no_expression_is_refused_with_the_form() {
    for text in [
        "",
        "!",
        "a b",
        "zone in a",
        "zone in (a",
        "in (a)",
        "cores>many",
        "=x",
        "a=b c",
        "k=-x",
    ] {
        assert!(text.parse::<Expression>().is_err(), "{text}");
    }
    let many = format!(
        "zone in ({})",
        (0..40).map(|n| n.to_string()).collect::<Vec<_>>().join(",")
    );
    let error = many.parse::<Expression>().unwrap_err().to_string();
    assert!(error.ends_with("it lists more than 32 values"), "{error}");
    assert!(
        "x".repeat(5_000)
            .parse::<Expression>()
            .unwrap_err()
            .to_string()
            .len()
            < 300
    );
}

#[test]
fn taints_and_tolerations() {
    let taint: Taint = "dedicated=db:no-schedule".parse().unwrap();
    assert_eq!(taint.to_string(), "dedicated=db:no-schedule");
    assert_eq!(
        "gpu:no-execute".parse::<Taint>().unwrap().to_string(),
        "gpu:no-execute"
    );
    for text in [
        "",
        "gpu",
        "gpu:",
        "gpu:never",
        ":no-execute",
        "a b:no-execute",
    ] {
        assert!(text.parse::<Taint>().is_err(), "{text}");
    }
    for (text, bears) in [
        ("*", true),
        ("*:no-execute", false),
        ("dedicated", true),
        ("dedicated=db", true),
        ("dedicated=web", false),
        ("dedicated=db:no-schedule", true),
        ("dedicated:no-execute", false),
        ("gpu", false),
    ] {
        let toleration: Toleration = text.parse().unwrap();
        assert_eq!(toleration.to_string(), text);
        assert_eq!(toleration.bears(&taint), bears, "{text}");
    }
    assert!("a=b:c".parse::<Toleration>().is_err());
}

#[test]
fn what_excludes_itself_is_refused() {
    for (require, fits) in [
        (vec!["zone=a", "zone=b"], false),
        (vec!["zone in (a, b)", "zone in (b, c)"], true),
        (vec!["zone in (a, b)", "zone not in (a, b, c)"], false),
        (vec!["zone in (a, b)", "zone!=b"], true),
        (vec!["zone", "!zone"], false),
        (vec!["!zone", "zone!=a"], true),
        (vec!["cores>8", "cores<9"], false),
        (vec!["cores>8", "cores<10"], true),
        (vec!["cores in (4, 8)", "cores>8"], false),
        (vec!["zone=a", "rack=b"], true),
        (vec!["pool=small"], false),
    ] {
        let placement = Placement {
            require: require.iter().map(|text| text.parse().unwrap()).collect(),
            pool: Some("big".parse().unwrap()),
            ..Placement::default()
        };
        assert_eq!(placement.check().is_ok(), fits, "{require:?}");
    }
}

#[test]
fn a_placement_reads_from_json_and_its_limits_hold() {
    let placement: Placement = serde_json::from_str(
        r#"{ "require": ["disk=ssd"], "prefer": ["cores>8"], "pool": "web", "kind": "bare-metal",
             "architecture": "amd64", "tolerate": ["dedicated"], "priority": "high",
             "spread": [{ "by": "zone", "mode": "hard" }],
             "near": [{ "app": "db", "type": "web", "by": "zone" }],
             "apart": [{ "type": "web", "by": "node", "mode": "hard" }] }"#,
    )
    .unwrap();
    assert_eq!(placement.check(), Ok(()));
    assert_eq!(placement.spread[0].max_skew, 1);
    assert_eq!(placement.architecture.as_ref().unwrap().as_str(), "x86_64");
    let written = serde_json::to_string(&placement).unwrap();
    assert_eq!(
        serde_json::from_str::<Placement>(&written).unwrap(),
        placement
    );
    assert_eq!(serde_json::to_string(&Placement::default()).unwrap(), "{}");
    assert!(serde_json::from_str::<Placement>(r#"{ "zones": 1 }"#).is_err());

    let spread = |max_skew| Spread {
        by: Domain::Zone,
        max_skew,
        mode: Strictness::Soft,
    };
    let with = |spread: Vec<Spread>| {
        Placement {
            spread,
            ..Placement::default()
        }
        .check()
    };
    assert_eq!(with(vec![spread(0)]), Err(InvalidPlacement::Skew(0)));
    assert_eq!(
        with(vec![spread(1), spread(2)]),
        Err(InvalidPlacement::SpreadTwice(Domain::Zone))
    );
    let many = Placement {
        tolerate: vec!["*".parse().unwrap(); 9],
        ..Placement::default()
    };
    assert_eq!(
        many.check().unwrap_err().to_string(),
        "tolerate has 9 entries; it may have at most 8"
    );
}

#[test]
fn near_and_apart_of_the_same_pods_exclude_each_other() {
    let of = |by, mode| Neighbour {
        app: None,
        process_type: "web".parse().unwrap(),
        by,
        mode,
    };
    for (near, apart, fits) in [
        (Domain::Node, Domain::Node, false),
        (Domain::Node, Domain::Zone, false),
        (Domain::Zone, Domain::Zone, false),
        (Domain::Zone, Domain::Node, true),
    ] {
        let with = |mode| Placement {
            near: vec![of(near, Strictness::Hard)],
            apart: vec![of(apart, mode)],
            ..Placement::default()
        };
        assert_eq!(
            with(Strictness::Hard).check().is_ok(),
            fits,
            "{near} {apart}"
        );
        assert_eq!(with(Strictness::Soft).check(), Ok(()));
    }
}
