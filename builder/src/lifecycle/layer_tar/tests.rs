use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
};

use proptest::prelude::*;

use super::{super::digest, *};

fn packed(dir: &Path) -> (Packed, Vec<u8>) {
    let out = tempfile::NamedTempFile::new().unwrap();
    let folder = Folder::open(dir).unwrap();
    let packed = pack(out.path(), |layer| {
        layer.folder("workspace")?;
        layer.tree("workspace", &folder)
    });
    (packed.unwrap(), fs::read(out.path()).unwrap())
}

fn write(dir: &Path, files: &BTreeMap<String, Vec<u8>>, order: impl Iterator<Item = usize>) {
    let files: Vec<_> = files.iter().collect();
    for at in order {
        let path = dir.join(files[at].0);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, files[at].1).unwrap();
    }
}

#[test]
fn digests_name_what_is_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "text").unwrap();
    let (packed, bytes) = packed(dir.path());
    assert_eq!(packed.digest, digest::of_bytes(&bytes));
    assert_eq!(packed.size_bytes, bytes.len() as u64);
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..])
        .read_to_end(&mut plain)
        .unwrap();
    assert_eq!(packed.diff_id, digest::of_bytes(&plain));
}

#[test]
fn tricks_do_not_get_into_a_layer() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "hidden from builds").unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    symlink(&secret, tree.join("link")).unwrap();
    fs::write(tree.join("setuid"), "#!").unwrap();
    fs::set_permissions(tree.join("setuid"), fs::Permissions::from_mode(0o4755)).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap();
    let (_, bytes) = packed(&tree);
    drop(socket);
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
    let mut names = Vec::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!(header.mode().unwrap() & !0o777, 0);
        assert_eq!(
            (header.uid().unwrap(), header.mtime().unwrap()),
            (1000, MODIFIED_SECS)
        );
        names.push(format!(
            "{} {:?}",
            entry.path().unwrap().display(),
            header.entry_type()
        ));
    }
    let want = [
        "workspace Directory",
        "workspace/link Symlink",
        "workspace/setuid Regular",
    ];
    assert_eq!(names, want);
}

#[test]
fn a_state_tells_every_change() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("a");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("file"), "1").unwrap();
    let look = |tree: &Path| state(&Folder::open(tree).unwrap()).unwrap();
    let before = look(&tree);
    assert_eq!(look(&tree), before);
    // Moving the folder is no change.
    let moved = dir.path().join("b");
    fs::rename(&tree, &moved).unwrap();
    assert_eq!(look(&moved), before);
    // Same size, and the time of modification put back.
    let time = fs::metadata(moved.join("file"))
        .unwrap()
        .modified()
        .unwrap();
    // The kernel's clock for files ticks in milliseconds.
    let changed = |path: &Path| {
        let found = fs::metadata(path).unwrap();
        (found.ctime(), found.ctime_nsec())
    };
    let first = changed(&moved.join("file"));
    while changed(&moved.join("file")) == first {
        fs::write(moved.join("file"), "2").unwrap();
    }
    fs::File::options()
        .write(true)
        .open(moved.join("file"))
        .unwrap()
        .set_modified(time)
        .unwrap();
    assert_ne!(look(&moved), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn equal_trees_give_equal_bytes(
        files in proptest::collection::btree_map(
            "[a-z]{1,3}(/[a-z]{4,6}){0,2}[.]x", proptest::collection::vec(any::<u8>(), 0..300), 1..8)
    ) {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(one.path(), &files, 0..files.len());
        write(two.path(), &files, (0..files.len()).rev());
        let old = fs::File::open(two.path().join(files.keys().next().unwrap())).unwrap();
        old.set_modified(std::time::UNIX_EPOCH).unwrap();
        prop_assert_eq!(packed(one.path()), packed(two.path()));
    }
}
