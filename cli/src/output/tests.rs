use super::*;

#[test]
fn text_from_elsewhere_cannot_drive_a_terminal() {
    for (input, expect) in [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\u{1b}[31mred\u{1b}[0m", "\u{1b}[31mred\u{1b}[0m"),
        ("\u{1b}[1;32mgreen\u{1b}[m", "\u{1b}[1;32mgreen\u{1b}[m"),
        ("line\r\n", "line\n"),
        ("clear\u{1b}[2J", "clear\u{fffd}[2J"),
        ("title\u{1b}]0;owned\u{7}", "title\u{fffd}]0;owned\u{fffd}"),
        ("cut\u{1b}[31", "cut\u{fffd}[31"),
        ("\u{9b}31m", "\u{fffd}31m"),
    ] {
        assert_eq!(harmless(input), expect, "{input:?}");
    }
}

#[test]
fn a_table_is_aligned_and_has_no_trailing_space() {
    let rows = [
        ["a".into(), "x\ny".into()],
        ["longer".into(), String::new()],
    ];
    insta::assert_snapshot!(table(["NAME", "VALUE"], rows), @r"
    NAME    VALUE
    a       x y
    longer
    ");
    assert_eq!(table(["NAME"], []), "");
}

#[test]
fn pairs_are_aligned_and_further_lines_indented() {
    let rows = [("A", "1".to_owned()), ("LONGER", "x\ny\n".to_owned())];
    insta::assert_snapshot!(pairs(rows), @r"
    A:      1
    LONGER: x
            y
    ");
}
