use proptest::prelude::*;

use super::*;

#[test]
fn lines_are_taken_apart() {
    let line = "2026-11-21T21:30:43.123456+00:00 app[web.1]: GET /a[0]: fine";
    let expect = Line {
        at: "2026-11-21T21:30:43.123456+00:00",
        source: "app",
        process: "web.1",
        text: "GET /a[0]: fine",
    };
    assert_eq!(Line::parse(line), Some(expect));
    assert_eq!(
        Line::parse("2026 app[web.1]:").map(|line| line.text),
        Some("")
    );
    for other in ["", "hello", "hello world", "a b c[d]: e"] {
        assert_eq!(Line::parse(other), None, "{other:?}");
    }
}

#[test]
fn only_the_head_is_coloured_and_a_process_keeps_its_colour() {
    let first = colour("2026 app[web.1]: app[web.1]: x");
    assert!(first.starts_with("\u{1b}["), "{first:?}");
    assert!(first.ends_with("app[web.1]: x"), "{first:?}");
    let start = |text: &str| text.chars().take(5).collect::<String>();
    assert_eq!(start(&first), start(&colour("2027 app[web.1]: y")));
    assert_eq!(colour("no log line"), "no log line");
}

#[test]
fn a_line_that_never_ends_is_not_kept() {
    let mut lines = Lines::default();
    let piece = vec![b'x'; LINE_BYTES_MAX + 1];
    assert_eq!(lines.take(&piece).len(), 1);
    assert_eq!(lines.end(), None);
}

proptest! {
    #[test]
    fn how_bytes_are_cut_does_not_matter(
        text in "([a-zé]{0,9}\n){0,8}[a-z]{0,5}",
        cuts in proptest::collection::vec(1usize..9, 0..20),
    ) {
        let mut lines = Lines::default();
        let mut read = Vec::new();
        let mut rest = text.as_bytes();
        for cut in cuts {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            read.extend(lines.take(piece));
            rest = after;
        }
        read.extend(lines.take(rest));
        read.extend(lines.end());
        prop_assert_eq!(read, text.lines().map(str::to_owned).collect::<Vec<_>>());
    }
}
