use super::*;

#[test]
fn a_strategy_reads_as_it_is_written() {
    let canary = Strategy::Canary {
        steps: vec!["5%:10m".parse().unwrap(), "25%:90s".parse().unwrap()],
        limits: CanaryLimits::default(),
        bake_secs: 3600,
    };
    let rolling = Strategy::Rolling {
        surge: Share::Percent(25),
        unavailable: Share::Count(0),
    };
    for (strategy, text) in [
        (Strategy::default(), "all at once"),
        (rolling, "rolling, surge 25%, unavailable 0"),
        (canary, "canary 5%:10m 25%:90s, bake 1h"),
    ] {
        assert_eq!(strategy.to_string(), text);
        assert_eq!(strategy.check(), Ok(()));
        let json = serde_json::to_string(&strategy).unwrap();
        assert_eq!(
            serde_json::from_str::<Strategy>(&json).unwrap(),
            strategy,
            "{json}"
        );
    }
}

#[test]
fn what_is_left_out_has_a_default() {
    let canary =
        r#"{"kind":"canary","steps":[{"percent":5,"secs":600}],"limits":{"requests_min":7}}"#;
    let Strategy::Canary {
        limits, bake_secs, ..
    } = serde_json::from_str(canary).unwrap()
    else {
        panic!("no canary");
    };
    assert_eq!(
        (limits.requests_min, limits.errors_percent, bake_secs),
        (7, 1, 0)
    );
    let rolling: Strategy = serde_json::from_str(r#"{"kind":"rolling"}"#).unwrap();
    assert_eq!(rolling.to_string(), "rolling, surge 1, unavailable 0");
}

#[test]
fn what_cannot_be_is_refused() {
    for (json, why) in [
        (r#"{"kind":"rolling","surge":"0"}"#, StrategyError::Stuck),
        (r#"{"kind":"canary","steps":[]}"#, StrategyError::Steps),
        (
            r#"{"kind":"canary","steps":[{"percent":100,"secs":60}]}"#,
            StrategyError::Percent,
        ),
        (
            r#"{"kind":"canary","steps":[{"percent":5,"secs":60},{"percent":5,"secs":60}]}"#,
            StrategyError::Percent,
        ),
        (
            r#"{"kind":"canary","steps":[{"percent":5,"secs":1}]}"#,
            StrategyError::StepSecs,
        ),
        (
            r#"{"kind":"all-at-once","bake_secs":100000}"#,
            StrategyError::Bake,
        ),
    ] {
        let strategy: Strategy = serde_json::from_str(json).unwrap();
        assert_eq!(strategy.check(), Err(why), "{json}");
    }
    let steps = (1..=5).map(|percent| CanaryStep {
        percent,
        secs: CANARY_STEP_SECS_MAX,
    });
    let long = Strategy::Canary {
        steps: steps.collect(),
        limits: CanaryLimits::default(),
        bake_secs: 0,
    };
    assert_eq!(long.check(), Err(StrategyError::CanarySecs));
    for text in ["", "-1", "101", "0%", "101%", "x"] {
        assert!(text.parse::<Share>().is_err(), "{text}");
    }
    for text in ["5", "5%", "5%:", "x%:1m", "5%:99999999h"] {
        assert!(text.parse::<CanaryStep>().is_err(), "{text}");
    }
}

#[test]
fn shares_round_to_the_careful_side() {
    assert_eq!(Share::Percent(25).of_rounded_up(3), 1);
    assert_eq!(Share::Percent(25).of_rounded_down(3), 0);
    assert_eq!(Share::Count(2).of_rounded_up(1), 2);
    assert_eq!(percent_of(5, 1), 1);
    assert_eq!(percent_of(50, 4), 2);
}
