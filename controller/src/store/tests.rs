use fairway_api::{
    accounts::AccountRole,
    builds::BuildPhase,
    ids::{AppId, BuildId, ReleaseId, UserId},
    releases::ReleaseStatus,
};

use super::{
    Store, StoreError, WriteTx,
    accounts::{self, AccountRow},
    apps::{self, AppRow},
    builds::{self, BuildRow},
    columns::now,
    releases::{self, ReleaseRow},
};

async fn open() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("fairway.db")).await.unwrap();
    (dir, store)
}

fn account(email: &str, role: AccountRole) -> AccountRow {
    AccountRow {
        id: UserId::generate(),
        email: email.parse().unwrap(),
        password_hash: "none".into(),
        role,
        created_at: now(),
        updated_at: now(),
    }
}

fn app(name: &str, owner: &AccountRow) -> AppRow {
    AppRow {
        id: AppId::generate(),
        name: name.parse().unwrap(),
        owner: owner.user(),
        maintenance: false,
        deploy_branch: Some("main".parse().unwrap()),
        config_version: 1,
        current_release: None,
        last_release_version: 0,
        created_at: now(),
        updated_at: now(),
        released_at: None,
        repository_bytes: None,
    }
}

fn build(app: &AppRow, phase: BuildPhase) -> BuildRow {
    BuildRow {
        id: BuildId::generate(),
        app: app.id,
        user: app.owner.clone(),
        builder: "one".parse().unwrap(),
        source: serde_json::from_value(serde_json::json!({
            "id": "a".repeat(40), "branch": "main", "summary": "s", "author": "a",
        }))
        .unwrap(),
        phase,
        failure: None,
        lease_until: None,
        result: None,
        release: None,
        verdict: None,
        created_at: now(),
        updated_at: now(),
    }
}

fn release(app: &AppRow, version: u64, status: ReleaseStatus) -> ReleaseRow {
    ReleaseRow {
        id: ReleaseId::generate(),
        app: app.id,
        version,
        description: "Deploy".into(),
        status,
        failure: None,
        user: app.owner.clone(),
        build: None,
        image: None,
        commit: None,
        config_version: 1,
        mounts: vec![],
        config_files: Default::default(),
        image_expired: false,
        created_at: now(),
        updated_at: now(),
    }
}

async fn filled(tx: &mut WriteTx) -> (AccountRow, AppRow) {
    let alice = account("alice@example.com", AccountRole::Member);
    accounts::insert(tx, &alice).await.unwrap();
    let shop = app("shop", &alice);
    apps::insert(tx, &shop).await.unwrap();
    (alice, shop)
}

#[tokio::test]
async fn every_word_of_every_enum_fits_its_check_and_comes_back() {
    let (_dir, store) = open().await;
    let mut tx = store.write().await.unwrap();
    let (_, shop) = filled(&mut tx).await;
    for role in [AccountRole::Member, AccountRole::Admin] {
        let row = account(&format!("{role:?}@example.com"), role);
        accounts::insert(&mut tx, &row).await.unwrap();
        assert_eq!(accounts::get(&mut tx, row.id).await.unwrap().role, role);
    }
    use BuildPhase::*;
    for phase in [Queued, Running, Succeeded, Failed, Cancelled] {
        let row = build(&shop, phase);
        builds::insert(&mut tx, &row).await.unwrap();
        assert_eq!(builds::get(&mut tx, row.id).await.unwrap(), row);
    }
    let statuses = [
        ReleaseStatus::Pending,
        ReleaseStatus::Succeeded,
        ReleaseStatus::Failed,
    ];
    for (version, status) in (1..).zip(statuses) {
        let row = release(&shop, version, status);
        releases::insert(&mut tx, &row).await.unwrap();
        assert_eq!(releases::get(&mut tx, row.id).await.unwrap(), row);
    }
    let row = apps::get(&mut tx, shop.id).await.unwrap();
    assert_eq!(row, shop, "what is read is what was written");
}

#[tokio::test]
async fn errors_say_what_stood_in_the_way() {
    let (_dir, store) = open().await;
    let mut tx = store.write().await.unwrap();
    let (alice, shop) = filled(&mut tx).await;
    let taken = apps::insert(&mut tx, &app("shop", &alice))
        .await
        .unwrap_err();
    assert!(
        taken.conflicts_on("apps.name") && !taken.conflicts_on("apps.id"),
        "{taken:?}"
    );
    releases::insert(&mut tx, &release(&shop, 1, ReleaseStatus::Pending))
        .await
        .unwrap();
    let doubled = release(&shop, 1, ReleaseStatus::Pending);
    let doubled = releases::insert(&mut tx, &doubled).await.unwrap_err();
    assert!(doubled.conflicts_on("releases.version"), "{doubled:?}");
    let missing = apps::get(&mut tx, AppId::generate()).await.unwrap_err();
    assert!(matches!(missing, StoreError::NotFound { what: "app" }));
    let stranger = app("blog", &account("bob@example.com", AccountRole::Member));
    let orphan = apps::insert(&mut tx, &stranger).await.unwrap_err();
    assert!(
        matches!(orphan, StoreError::Database(_)),
        "owners must exist: {orphan:?}"
    );
}

#[tokio::test]
async fn a_change_is_seen_whole_or_not_at_all() {
    let (_dir, store) = open().await;
    let before = store.read().await.unwrap();
    drop(before);
    let mut tx = store.write().await.unwrap();
    let (_, shop) = filled(&mut tx).await;
    let mut outside = store.read().await.unwrap();
    assert!(
        apps::get(&mut outside, shop.id).await.is_err(),
        "not committed yet"
    );
    tx.commit().await.unwrap();
    assert!(
        apps::get(&mut outside, shop.id).await.is_err(),
        "a snapshot stays as it is"
    );
    assert!(
        apps::get(&mut store.read().await.unwrap(), shop.id)
            .await
            .is_ok()
    );

    let mut dropped = store.write().await.unwrap();
    apps::delete(&mut dropped, shop.id).await.unwrap();
    drop(dropped);
    let mut next = store.write_relaxed().await.unwrap();
    assert!(
        apps::get(&mut next, shop.id).await.is_ok(),
        "no commit, no change"
    );
}

#[tokio::test]
async fn everything_of_an_app_goes_with_it() {
    let (_dir, store) = open().await;
    let mut tx = store.write().await.unwrap();
    let (_, shop) = filled(&mut tx).await;
    let row = build(&shop, BuildPhase::Queued);
    builds::insert(&mut tx, &row).await.unwrap();
    apps::delete(&mut tx, shop.id).await.unwrap();
    assert!(builds::get(&mut tx, row.id).await.is_err());
    assert!(matches!(
        apps::delete(&mut tx, shop.id).await,
        Err(StoreError::NotFound { what: "app" })
    ));
}

#[tokio::test]
async fn a_database_opens_again_with_what_it_had() {
    let (dir, store) = open().await;
    let mut tx = store.write().await.unwrap();
    let (_, shop) = filled(&mut tx).await;
    tx.commit().await.unwrap();
    store.close().await;
    let store = Store::open(&dir.path().join("fairway.db")).await.unwrap();
    assert_eq!(
        apps::get(&mut store.read().await.unwrap(), shop.id)
            .await
            .unwrap(),
        shop
    );
}

#[tokio::test]
async fn release_numbers_have_no_gaps_after_a_change_that_was_dropped() {
    let (_dir, store) = open().await;
    let mut tx = store.write().await.unwrap();
    let (_, shop) = filled(&mut tx).await;
    assert_eq!(
        apps::next_release_version(&mut tx, shop.id).await.unwrap(),
        1
    );
    tx.commit().await.unwrap();
    let mut tx = store.write().await.unwrap();
    assert_eq!(
        apps::next_release_version(&mut tx, shop.id).await.unwrap(),
        2
    );
    drop(tx);
    let mut tx = store.write().await.unwrap();
    assert_eq!(
        apps::next_release_version(&mut tx, shop.id).await.unwrap(),
        2
    );
}

#[tokio::test]
async fn a_full_disk_is_named_and_forgotten_when_there_is_space_again() {
    let (_dir, store) = open().await;
    let mut tx = store.write().await.unwrap();
    sqlx::query("CREATE TABLE ballast (bytes BLOB)")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    // For this connection the file may not grow: SQLite's own full disk.
    let mut tx = store.write().await.unwrap();
    sqlx::query("PRAGMA max_page_count = 1")
        .execute(&mut *tx)
        .await
        .unwrap();
    let full: StoreError = sqlx::query("INSERT INTO ballast VALUES (randomblob(1000000))")
        .execute(&mut *tx)
        .await
        .unwrap_err()
        .into();
    assert!(matches!(full, StoreError::DiskFull(_)), "{full:?}");
    drop(tx);

    let mut tx = store.write().await.unwrap();
    let owner = account("ada@example.com", AccountRole::Member);
    accounts::insert(&mut tx, &owner).await.unwrap();
    tx.commit().await.unwrap();
}
