use super::{get, raise};
use crate::store::Store;

#[tokio::test]
async fn a_number_only_grows() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("fairway.db")).await.unwrap();
    let mut tx = store.write().await.unwrap();
    assert_eq!(get(&mut tx, "routes").await.unwrap(), 0);
    for (value, wanted) in [(7, 7), (3, 7), (8, 8)] {
        raise(&mut tx, "routes", value).await.unwrap();
        assert_eq!(get(&mut tx, "routes").await.unwrap(), wanted);
    }
    assert_eq!(
        get(&mut tx, "nodes").await.unwrap(),
        0,
        "each name has its own"
    );
}
