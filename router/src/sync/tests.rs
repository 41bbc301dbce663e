use fairway_api::routes::RouteTable;

use super::{Sync, keep, kept};

#[test]
fn a_kept_table_comes_back() {
    let data = tempfile::tempdir().unwrap();
    let file = Sync::file_in(data.path());
    assert_eq!(kept(&file), None);
    for generation in [1, 2] {
        let table = RouteTable {
            generation,
            routes: Vec::new(),
        };
        keep(&file, &table).unwrap();
        assert_eq!(kept(&file), Some(table));
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
        assert_eq!(kept(&file), None, "{text:?}");
    }
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert_eq!(kept(&file), None);
}
