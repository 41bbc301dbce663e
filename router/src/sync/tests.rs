use fairway_api::routes::{RouteBook, RouteTable, RouteUpdate};

use super::{Sync, keep, kept};

#[test]
fn a_kept_table_comes_back() {
    let data = tempfile::tempdir().unwrap();
    let file = Sync::file_in(data.path());
    assert!(kept(&file).is_none());
    for generation in [1, 2] {
        let mut book = RouteBook::default();
        let table = RouteTable {
            generation,
            routes: Vec::new(),
        };
        book.take(RouteUpdate::try_from(&table).unwrap()).unwrap();
        keep(&file, &book.whole()).unwrap();
        let update = kept(&file).unwrap();
        assert_eq!((update.generation, update.since), (generation, 0));
    }
    let names: Vec<_> = std::fs::read_dir(data.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing is left beside it");
}

#[test]
fn a_damaged_table_is_as_good_as_none() {
    let data = tempfile::tempdir().unwrap();
    let file = Sync::file_in(data.path());
    for text in ["", "{", "{\"generation\": 1}", "null"] {
        std::fs::write(&file, text).unwrap();
        assert!(kept(&file).is_none(), "{text:?}");
    }
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(kept(&file).is_none());
}
