use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

fn link(byte: u8) -> Value {
    json!({
        "mediaType": "application/octet-stream",
        "digest": format!("sha256:{}", hex::encode([byte; 32])),
        "size": byte,
    })
}

fn image(media_type: Option<&str>) -> Value {
    let mut value = json!({"schemaVersion": 2, "config": link(1), "layers": [link(2), link(3)]});
    if let Some(media_type) = media_type {
        value["mediaType"] = media_type.into();
    }
    value
}

fn list(media_type: Option<&str>) -> Value {
    let mut value = json!({"schemaVersion": 2, "manifests": [link(4)]});
    if let Some(media_type) = media_type {
        value["mediaType"] = media_type.into();
    }
    value
}

fn with(mut value: Value, key: &str, field: Value) -> Value {
    value[key] = field;
    value
}

fn without(mut value: Value, key: &str) -> Value {
    value.as_object_mut().unwrap().remove(key);
    value
}

fn parse(value: &Value, content_type: Option<&str>) -> Result<Document, DocumentError> {
    Document::parse(&serde_json::to_vec(value).unwrap(), content_type)
}

#[test]
fn the_four_kinds() {
    for (value, content_type, expected) in [
        (image(Some(MANIFEST)), Some(MANIFEST), Kind::OciManifest),
        (image(None), Some(MANIFEST), Kind::OciManifest),
        (image(None), None, Kind::OciManifest),
        (image(Some(DOCKER)), Some(DOCKER), Kind::DockerManifest),
        (list(Some(INDEX)), Some(INDEX), Kind::OciIndex),
        (
            list(None),
            Some("application/vnd.oci.image.index.v1+json; charset=utf-8"),
            Kind::OciIndex,
        ),
        (list(Some(LIST)), Some(LIST), Kind::DockerList),
    ] {
        let document = parse(&value, content_type).expect("a good manifest");
        assert_eq!(document.kind, expected);
        assert_eq!(document.blobs.len(), if expected.is_list() { 0 } else { 3 });
        assert_eq!(document.entries.len(), usize::from(expected.is_list()));
    }
}

#[test]
fn what_is_refused() {
    let digest = |text: &str| json!({"mediaType": "x/y", "digest": text, "size": 1});
    for (value, content_type, message) in [
        (
            json!([2, null, null, null, null, [], null, null]),
            None,
            "no JSON object",
        ),
        (json!({"schemaVersion": "2"}), None, "no JSON of a manifest"),
        (json!({}), None, "schemaVersion must be 2"),
        (
            with(image(None), "schemaVersion", 1.into()),
            None,
            "schemaVersion must be 2",
        ),
        (
            image(Some("text/plain")),
            None,
            "\"text/plain\" is not supported",
        ),
        (
            image(None),
            Some("text/plain"),
            "\"text/plain\" is not supported",
        ),
        (image(Some(MANIFEST)), Some(DOCKER), "Content-Type is"),
        (image(None), Some(DOCKER), "has no mediaType"),
        (image(None), Some(INDEX), "Content-Type is"),
        (
            without(image(None), "config"),
            None,
            "needs config and layers",
        ),
        (
            without(image(None), "layers"),
            None,
            "needs config and layers",
        ),
        (
            with(image(Some(MANIFEST)), "manifests", json!([])),
            None,
            "must not have manifests",
        ),
        (
            with(list(Some(INDEX)), "layers", json!([])),
            None,
            "must not have config or layers",
        ),
        (
            without(list(Some(INDEX)), "manifests"),
            None,
            "needs manifests",
        ),
        (
            with(image(None), "config", digest("sha256:../..")),
            None,
            "\"sha256:../..\"",
        ),
        (
            with(image(None), "subject", digest("latest")),
            None,
            "\"latest\"",
        ),
        (
            with(list(None), "manifests", json!([digest("md5:1")])),
            None,
            "\"md5:1\"",
        ),
        (
            with(image(None), "config", json!({"size": -1})),
            None,
            "no JSON of a manifest",
        ),
    ] {
        let error = parse(&value, content_type).expect_err(message).to_string();
        assert!(error.contains(message), "{error:?} should say {message:?}");
    }
}

#[test]
fn layers_from_elsewhere_need_not_be_here() {
    let foreign = with(link(9), "urls", json!(["https://example.com/layer"]));
    let value = with(image(Some(DOCKER)), "layers", json!([foreign, link(2)]));
    assert_eq!(parse(&value, None).unwrap().blobs.len(), 2);
}

#[test]
fn a_referrer_is_described_by_its_type_or_its_configs() {
    let subject = with(image(None), "subject", link(7));
    let document = parse(&subject, None).unwrap();
    assert_eq!(
        document.subject,
        Digest::from_hex(&hex::encode([7; 32])).ok()
    );
    let described = document.describe(Digest::of(b"x"), 5);
    assert_eq!(
        described.artifact_type.as_deref(),
        Some("application/octet-stream")
    );

    let typed = with(
        with(subject, "artifactType", "application/x-sbom".into()),
        "annotations",
        json!({"by": "test"}),
    );
    let described = parse(&typed, None).unwrap().describe(Digest::of(b"x"), 5);
    assert_eq!(
        serde_json::to_value(described).unwrap(),
        json!({
            "mediaType": MANIFEST,
            "digest": Digest::of(b"x").to_string(),
            "size": 5,
            "artifactType": "application/x-sbom",
            "annotations": {"by": "test"},
        })
    );
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(Document::parse(&bytes, None));
    }

    #[test]
    fn a_cut_manifest_is_refused(cut in 0usize..100) {
        let bytes = serde_json::to_vec(&image(Some(MANIFEST))).unwrap();
        prop_assert!(Document::parse(&bytes[..cut], None).is_err());
    }
}
