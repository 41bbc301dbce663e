use proptest::prelude::*;

use super::*;

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

fn check(path: &str, expected: Route) {
    assert_eq!(Route::parse(path).expect(path), expected, "{path}");
}

#[test]
fn paths() {
    let name = || "apps/shop".parse::<Repository>().unwrap();
    let digest = Digest::from_hex(HEX).unwrap();
    check("/v2", Route::Base);
    check("/v2/", Route::Base);
    check("/v2/_catalog", Route::Catalog);
    check("/v2/apps/shop/tags/list", Route::Tags(name()));
    check(
        "/v2/apps/shop/manifests/v1",
        Route::Manifest(name(), "v1".parse().unwrap()),
    );
    check(
        &format!("/v2/apps/shop/manifests/sha256:{HEX}"),
        Route::Manifest(name(), Reference::Digest(digest)),
    );
    check(
        &format!("/v2/apps/shop/blobs/sha256:{HEX}"),
        Route::Blob(name(), digest),
    );
    check(
        &format!("/v2/apps/shop/blobs/sha256%3A{HEX}"),
        Route::Blob(name(), digest),
    );
    check(
        &format!("/v2/apps/shop/referrers/sha256:{HEX}"),
        Route::Referrers(name(), digest),
    );
    check("/v2/apps/shop/blobs/uploads/", Route::Uploads(name()));
    check("/v2/apps/shop/blobs/uploads", Route::Uploads(name()));
    check(
        &format!("/v2/apps/shop/blobs/uploads/{ID}"),
        Route::Upload(name(), ID.parse().unwrap()),
    );
    // The protocol's own words are good repository names.
    check(
        "/v2/tags/list/tags/list",
        Route::Tags("tags/list".parse().unwrap()),
    );
    check(
        "/v2/a/blobs/tags/list",
        Route::Tags("a/blobs".parse().unwrap()),
    );
    check(
        "/v2/a/manifests/blobs/uploads/",
        Route::Uploads("a/manifests".parse().unwrap()),
    );
}

#[test]
fn malformed_paths() {
    for (path, code) in [
        ("/", "NOT_FOUND"),
        ("/v1/", "NOT_FOUND"),
        ("/v2x", "NOT_FOUND"),
        ("/v2/a", "NOT_FOUND"),
        ("/v2/tags/list", "NOT_FOUND"),
        ("/v2//", "NOT_FOUND"),
        ("/v2/a/nothing/b", "NOT_FOUND"),
        ("/v2//tags/list", "NAME_INVALID"),
        ("/v2/../tags/list", "NAME_INVALID"),
        ("/v2/a/../../etc/tags/list", "NAME_INVALID"),
        ("/v2/a%2F..%2Fb/tags/list", "NAME_INVALID"),
        ("/v2/A/tags/list", "NAME_INVALID"),
        ("/v2/_uploads/tags/list", "NAME_INVALID"),
        ("/v2/a/manifests/", "TAG_INVALID"),
        ("/v2/a/manifests/..", "TAG_INVALID"),
        ("/v2/a/manifests/%2e%2e%2fb", "TAG_INVALID"),
        ("/v2/a/manifests/x%00y", "TAG_INVALID"),
        ("/v2/a/manifests/sha256:abc", "DIGEST_INVALID"),
        ("/v2/a/blobs/sha256:abc", "DIGEST_INVALID"),
        ("/v2/a/blobs/abc", "DIGEST_INVALID"),
        ("/v2/a/referrers/latest", "DIGEST_INVALID"),
        ("/v2/a/blobs/uploads/x", "BLOB_UPLOAD_UNKNOWN"),
        ("/v2/a/blobs/uploads/..", "BLOB_UPLOAD_UNKNOWN"),
    ] {
        assert_eq!(Route::parse(path).expect_err(path).code(), code, "{path}");
    }
}

proptest! {
    #[test]
    fn no_path_panics(path in "/v2(/|[a-z_%.-]|blobs|uploads|manifests|tags|list|sha256:|\\PC){0,16}") {
        drop(Route::parse(&path));
    }

    #[test]
    fn decoding_leaves_plain_text_alone(text in "[a-zA-Z0-9:._-]*") {
        prop_assert_eq!(percent_decoded(&text), text.as_str());
    }
}
