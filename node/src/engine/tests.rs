use bytes::Bytes;

use super::*;

#[test]
fn a_piece_of_log_is_split_from_its_time() {
    let output = |text: &'static str| LogOutput::StdErr {
        message: Bytes::from(text),
    };
    let table = [
        (
            "2026-11-21T10:00:00.000000001Z hello world\n",
            Some("hello world"),
        ),
        ("2026-11-21T10:00:00.000000001Z hello\r\n", Some("hello")),
        ("2026-11-21T10:00:00.000000001Z \n", Some("")),
        (
            "2026-11-21T10:00:00.000000001Z part of a long line",
            Some("part of a long line"),
        ),
        ("no time at all", None),
        ("", None),
    ];
    for (given, wanted) in table {
        let piece = piece(&output(given));
        assert_eq!(piece.as_ref().map(|p| p.text.as_str()), wanted, "{given:?}");
        assert!(piece.is_none_or(|p| p.error_output && p.at.timestamp_subsec_nanos() == 1));
    }
}

#[test]
fn a_pod_without_its_image_is_told_from_one_that_cannot_start() {
    let refused = |error: EngineError| fairway_api::pods::PodPhase::Refused {
        reason: error.to_string(),
    };
    let image = || "127.0.0.1:5000/shop".to_owned();
    let pulls = [
        EngineError::PullFailed {
            image: image(),
            message: "manifest unknown".into(),
        },
        EngineError::PullStalled {
            image: image(),
            secs: 60,
        },
    ];
    for error in pulls {
        assert!(refused(error).lacks_image());
    }
    let other = EngineError::Refused {
        action: "start the container",
        status: 400,
        message: "no such program".into(),
    };
    assert!(!refused(other).lacks_image());
}
