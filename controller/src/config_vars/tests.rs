use fairway_api::{
    config_vars::{CONFIG_BYTES_MAX, ConfigPatch, ConfigVars},
    ids::AppId,
    secret::Secret,
};
use proptest::prelude::*;

use super::change;
use crate::{
    config_vars::ConfigVarsError,
    secrets::SecretsError,
    store::{self, columns::now},
    testing::Rig,
};

fn vars(pairs: &[(&str, &str)]) -> ConfigVars {
    pairs
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), Secret::new(*value)))
        .collect()
}

fn patch(pairs: &[(&str, Option<&str>)]) -> ConfigPatch {
    let secret = |value: &Option<&str>| value.map(Secret::new);
    pairs
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), secret(value)))
        .collect()
}

#[test]
fn a_change_is_described_by_names() {
    let before = vars(&[("A", "1"), ("B", "2")]);
    let many: Vec<String> = (0..7).map(|n| format!("N{n}")).collect();
    let many: Vec<(&str, Option<&str>)> = many.iter().map(|n| (n.as_str(), Some("x"))).collect();
    let table = [
        (patch(&[("A", Some("9"))]), Some("Set A config var")),
        (
            patch(&[("A", Some("9")), ("C", Some("3"))]),
            Some("Set A, C config vars"),
        ),
        (patch(&[("A", None)]), Some("Unset A config var")),
        (
            patch(&[("A", None), ("B", Some(""))]),
            Some("Set B config var, unset A config var"),
        ),
        (
            patch(&many),
            Some("Set N0, N1, N2, N3, N4 and 2 more config vars"),
        ),
        (patch(&[("A", Some("1")), ("C", None)]), None),
        (patch(&[]), None),
    ];
    for (patch, expected) in table {
        let changed = change(&before, patch.clone()).unwrap();
        assert_eq!(
            changed.map(|c| c.description).as_deref(),
            expected,
            "{patch:?}"
        );
    }
}

#[test]
fn the_limit_counts_all_and_never_stands_in_the_way_of_less() {
    let full = vars(&[("A", &"x".repeat(CONFIG_BYTES_MAX - 1))]);
    assert!(
        change(
            &ConfigVars::new(),
            patch(&[("A", Some(full.values().next().unwrap().expose()))])
        )
        .is_ok()
    );
    assert!(change(&full, patch(&[("B", Some(""))])).is_err());
    // A limit that was lowered must not keep anybody from unsetting.
    let over = vars(&[("A", &"x".repeat(2 * CONFIG_BYTES_MAX)), ("B", "")]);
    assert!(change(&over, patch(&[("B", None)])).is_ok());
}

proptest! {
    #[test]
    fn a_patch_does_what_it_says_and_nothing_else(
        before in proptest::collection::btree_map("[A-E]", "[xyz]{0,2}", 0..5),
        wanted in proptest::collection::btree_map("[A-E]", proptest::option::of("[xyz]{0,2}"), 0..5),
    ) {
        let before: ConfigVars =
            before.into_iter().map(|(n, v)| (n.parse().unwrap(), Secret::new(v))).collect();
        let wanted: ConfigPatch =
            wanted.into_iter().map(|(n, v)| (n.parse().unwrap(), v.map(Secret::new))).collect();
        let mut expected = before.clone();
        for (name, value) in &wanted {
            match value {
                Some(value) => drop(expected.insert(name.clone(), value.clone())),
                None => drop(expected.remove(name)),
            }
        }
        match change(&before, wanted).unwrap() {
            Some(change) => prop_assert_eq!(change.vars, expected),
            None => prop_assert_eq!(before, expected, "only what changes nothing makes no release"),
        }
    }
}

#[tokio::test]
async fn a_version_moved_to_another_app_does_not_open() {
    let rig = Rig::new().await;
    let mut ids = Vec::new();
    for name in ["shop", "blog"] {
        let app = rig.app(name).await;
        ids.push(app["id"].as_str().unwrap().parse::<AppId>().unwrap());
    }
    let state = rig.state();
    let mut tx = state.store.write().await.unwrap();
    let theirs = store::config_vars::get(&mut tx, ids[0], 1).await.unwrap();
    store::config_vars::insert(&mut tx, ids[1], 2, &theirs, now())
        .await
        .unwrap();
    store::config_vars::insert(&mut tx, ids[0], 2, &theirs, now())
        .await
        .unwrap();
    for app in ids {
        let moved = super::load(&state.secrets, &mut tx, app, 2).await;
        assert!(matches!(
            moved,
            Err(ConfigVarsError::Secrets(SecretsError::DoesNotOpen))
        ));
        super::load(&state.secrets, &mut tx, app, 1).await.unwrap();
    }
}
