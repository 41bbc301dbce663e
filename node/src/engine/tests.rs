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
