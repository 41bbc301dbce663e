use proptest::prelude::*;

use super::*;

/// Feeds the text in chunks of `step` bytes; gives what was output and how it ended.
fn scan(text: &[u8], step: usize) -> (Vec<u8>, Option<(i32, Counters)>) {
    let mut scanner = Scanner::new("m4rk");
    let mut clear = Vec::new();
    for chunk in text.chunks(step) {
        if let Some(ended) = scanner.push(chunk, &mut clear) {
            return (clear, Some(ended));
        }
    }
    (clear, None)
}

#[test]
fn the_mark_is_found_however_it_is_cut() {
    let counters = Counters {
        out_of_memory: 2,
        processes_refused: 7,
    };
    for step in 1..40 {
        let (clear, ended) = scan(b"line\n\x1em4rk 137 2 7\n", step);
        assert_eq!(
            (clear.as_slice(), ended),
            (b"line\n".as_slice(), Some((137, counters)))
        );
        let (clear, ended) = scan(b"no newline\x1em4rk 0 0 0\n", step);
        assert_eq!(clear, b"no newline");
        assert_eq!(ended, Some((0, Counters::default())));
    }
}

#[test]
fn what_only_looks_like_a_mark_is_output() {
    for step in 1..40 {
        let text = b"\x1e\x1em4r\n\x1em4rkx 0 0\nend\n";
        assert_eq!(scan(text, step), (text.to_vec(), None));
    }
    let long = [b"\x1em4rk ".as_slice(), &[b'1'; 2 * MARK_BYTES_MAX]].concat();
    assert_eq!(scan(&long, 10), (long, None));
}

proptest! {
    #[test]
    fn no_output_is_lost(
        before in proptest::collection::vec(prop_oneof![Just(MARK_START), any::<u8>()], 0..200),
        step in 1_usize..50,
    ) {
        let text = [before.as_slice(), b"\x1em4rk 3 0 0\n"].concat();
        let (clear, ended) = scan(&text, step);
        prop_assert_eq!(clear, before);
        prop_assert_eq!(ended.unwrap().0, 3);
    }
}
