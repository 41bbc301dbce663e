use axum::http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixtures::Fixture;

/// Follows `Link` headers and gives the pages.
async fn pages(registry: &Fixture, first: &str, key: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut path = first.to_owned();
    loop {
        let answer = registry.get(&path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        let entries = answer.json()[key].as_array().expect(key).clone();
        pages.push(
            entries
                .iter()
                .map(|e| e.as_str().unwrap().to_owned())
                .collect(),
        );
        let link = answer.header("link");
        let Some(next) = link
            .strip_prefix('<')
            .and_then(|l| l.strip_suffix(">; rel=\"next\""))
        else {
            assert_eq!(link, "");
            return pages;
        };
        path = next.to_owned();
    }
}

#[tokio::test]
async fn tags_in_pages() {
    let registry = Fixture::new();
    for tag in ["b", "C", "a", "v1.10", "V1.9", "_x"] {
        registry.image("apps/shop", tag, b"layer").await;
    }
    let all = ["_x", "a", "b", "C", "v1.10", "V1.9"];
    let path = "/v2/apps/shop/tags/list";
    assert_eq!(
        registry.get(path).await.json(),
        json!({"name": "apps/shop", "tags": all})
    );
    for n in 1..=7 {
        let pages = pages(&registry, &format!("{path}?n={n}"), "tags").await;
        assert_eq!(pages.concat(), all, "n={n}");
        assert!(pages.iter().all(|page| page.len() <= n));
        assert_eq!(pages.len(), all.len().div_ceil(n), "no empty page");
    }
    assert_eq!(
        pages(&registry, &format!("{path}?last=b"), "tags")
            .await
            .concat(),
        all[3..]
    );
    assert_eq!(
        pages(&registry, &format!("{path}?last=bb"), "tags")
            .await
            .concat(),
        all[3..]
    );
    assert_eq!(
        pages(&registry, &format!("{path}?n=0"), "tags")
            .await
            .concat(),
        [""; 0]
    );
}

#[tokio::test]
async fn the_catalog_has_repositories_with_manifests() {
    let registry = Fixture::new();
    for name in ["z", "apps/shop", "apps", "apps/shop/cache"] {
        registry.image(name, "v1", b"layer").await;
    }
    registry.blob("only/blobs", b"layer").await;
    registry.start("only/uploads").await;
    let pages = pages(&registry, "/v2/_catalog?n=3", "repositories").await;
    assert_eq!(
        pages,
        [vec!["apps", "apps/shop", "apps/shop/cache"], vec!["z"]]
    );
}

#[tokio::test]
async fn unknown_and_malformed_lists() {
    let registry = Fixture::new();
    for (path, status, code) in [
        ("/v2/unknown/tags/list", 404, "NAME_UNKNOWN"),
        ("/v2/_catalog?n=x", 400, "QUERY_INVALID"),
        ("/v2/_catalog?n=-1", 400, "QUERY_INVALID"),
        ("/v2/_catalog?n=99999999999999999999", 400, "QUERY_INVALID"),
        ("/v2/_catalog?n=1&n=2", 400, "QUERY_INVALID"),
    ] {
        let answer = registry.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (status, code),
            "{path}"
        );
    }
    let empty: Value = registry.get("/v2/_catalog").await.json();
    assert_eq!(empty, json!({"repositories": []}));
}

#[tokio::test]
async fn referrers_in_pages_keep_their_filter() {
    let registry = Fixture::new();
    let subject = json!({"mediaType": "x/y", "digest": crate::fixtures::digest(b"s"), "size": 1});
    for i in 0..5 {
        let mut referrer = registry.manifest("a", format!("{i}").as_bytes()).await;
        referrer["subject"] = subject.clone();
        referrer["artifactType"] = if i % 2 == 0 { "even+x" } else { "odd" }.into();
        let digest = crate::fixtures::digest(referrer.to_string().as_bytes());
        assert_eq!(
            registry.put_manifest("a", &digest, &referrer).await.status,
            201
        );
    }
    let mut path = format!(
        "/v2/a/referrers/{}?n=2&artifactType=even%2Bx",
        subject["digest"].as_str().unwrap()
    );
    let (mut found, mut answers) = (0, 0);
    while !path.is_empty() {
        let answer = registry.get(&path).await;
        found += answer.json()["manifests"].as_array().unwrap().len();
        answers += 1;
        path = answer
            .header("link")
            .trim_start_matches('<')
            .split('>')
            .next()
            .unwrap()
            .to_owned();
    }
    assert_eq!((found, answers), (3, 3));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn every_tag_is_listed_once(
        tags in prop::collection::btree_set("[a-cA-C_][a-c._-]{0,3}", 1..12),
        n in 1usize..5,
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let registry = Fixture::new();
            let manifest = registry.manifest("a", b"layer").await;
            for tag in &tags {
                registry.put_manifest("a", tag, &manifest).await;
            }
            let mut listed = pages(&registry, &format!("/v2/a/tags/list?n={n}"), "tags").await.concat();
            listed.sort();
            assert_eq!(listed, tags.into_iter().collect::<Vec<_>>());
        });
    }
}
