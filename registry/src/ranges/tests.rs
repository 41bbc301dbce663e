use proptest::prelude::*;

use super::*;

#[test]
fn parts_of_ten_bytes() {
    for (header, expected) in [
        (None, Part::Whole),
        (Some("bytes=0-"), Part::Bytes(0..10)),
        (Some("bytes=0-0"), Part::Bytes(0..1)),
        (Some("bytes=3-5"), Part::Bytes(3..6)),
        (Some("bytes=3-99"), Part::Bytes(3..10)),
        (Some("bytes=3-18446744073709551615"), Part::Bytes(3..10)),
        (Some("bytes=9-"), Part::Bytes(9..10)),
        (Some("bytes=-4"), Part::Bytes(6..10)),
        (Some("bytes=-99"), Part::Bytes(0..10)),
        (Some("bytes=10-"), Part::Unsatisfiable),
        (Some("bytes=10-20"), Part::Unsatisfiable),
        (Some("bytes=-0"), Part::Unsatisfiable),
        (Some("bytes=5-3"), Part::Whole),
        (Some("bytes=0-1,4-5"), Part::Whole),
        (Some("bytes=-"), Part::Whole),
        (Some("bytes=+1-2"), Part::Whole),
        (Some("bytes=99999999999999999999-"), Part::Whole),
        (Some("lines=1-2"), Part::Whole),
        (Some(""), Part::Whole),
    ] {
        assert_eq!(part(header, 10), expected, "{header:?}");
    }
    assert_eq!(part(Some("bytes=0-"), 0), Part::Unsatisfiable);
}

#[test]
fn chunks() {
    for (header, expected) in [
        ("0-9", Some(0..10)),
        ("10-10", Some(10..11)),
        ("9-0", None),
        ("0-", None),
        ("-9", None),
        ("", None),
        ("a-b", None),
        ("+0-9", None),
        ("bytes 0-9/10", None),
        ("0-18446744073709551615", None),
    ] {
        assert_eq!(chunk(header), expected, "{header:?}");
    }
}

proptest! {
    #[test]
    fn a_part_lies_within_the_content(header in "bytes=[0-9]{0,3}-[0-9]{0,3}", length in 0u64..1200) {
        if let Part::Bytes(bytes) = part(Some(&header), length) {
            prop_assert!(bytes.start < bytes.end && bytes.end <= length);
        }
    }

    #[test]
    fn what_was_received_reads_back(length in 1u64..u64::MAX) {
        prop_assert_eq!(chunk(&received(length)), Some(0..length));
    }

    #[test]
    fn no_text_panics(text in "\\PC*", length in any::<u64>()) {
        part(Some(&text), length);
        chunk(&text);
    }
}
