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

fn refused(value: &Value, content_type: Option<&str>, message: &str) {
    let error = parse(value, content_type).expect_err(message).to_string();
    assert!(error.contains(message), "{error:?} should say {message:?}");
}

#[test]
fn what_is_no_manifest() {
    let fields_in_order = json!([2, null, null, null, null, [], null, null]);
    refused(&fields_in_order, None, "no JSON object");
    refused(
        &json!({"schemaVersion": "2"}),
        None,
        "no JSON of a manifest",
    );
    refused(&json!({}), None, "schemaVersion must be 2");
    let version_1 = with(image(None), "schemaVersion", 1.into());
    refused(&version_1, None, "schemaVersion must be 2");
}

#[test]
fn media_types_that_do_not_fit() {
    refused(
        &image(Some("text/plain")),
        None,
        "\"text/plain\" is not supported",
    );
    refused(
        &image(None),
        Some("text/plain"),
        "\"text/plain\" is not supported",
    );
    refused(&image(Some(MANIFEST)), Some(DOCKER), "Content-Type is");
    refused(&image(None), Some(DOCKER), "has no mediaType");
    refused(&image(None), Some(INDEX), "Content-Type is");
}

#[test]
fn fields_of_the_wrong_kind() {
    for field in ["config", "layers"] {
        refused(
            &without(image(None), field),
            None,
            "needs config and layers",
        );
        let list = with(list(Some(INDEX)), field, image(None)[field].clone());
        refused(&list, None, "must not have config or layers");
    }
    refused(
        &without(list(Some(INDEX)), "manifests"),
        None,
        "needs manifests",
    );
    let both = with(image(Some(MANIFEST)), "manifests", json!([]));
    refused(&both, None, "must not have manifests");
}

#[test]
fn links_that_are_malformed() {
    let to = |text: &str| json!({"mediaType": "x/y", "digest": text, "size": 1});
    refused(
        &with(image(None), "config", to("sha256:../..")),
        None,
        "\"sha256:../..\"",
    );
    refused(
        &with(image(None), "subject", to("latest")),
        None,
        "\"latest\"",
    );
    refused(
        &with(list(None), "manifests", json!([to("md5:1")])),
        None,
        "\"md5:1\"",
    );
    let negative = with(link(1), "size", (-1).into());
    refused(
        &with(image(None), "config", negative),
        None,
        "no JSON of a manifest",
    );
    refused(
        &with(image(None), "layers", json!([{}])),
        None,
        "no JSON of a manifest",
    );
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
