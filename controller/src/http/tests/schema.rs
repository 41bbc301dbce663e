//! Every answer of the public API fits Heroku's own schema, and looks as it did: a snapshot shows
//! each change of the wire's shape.

use std::sync::LazyLock;

use fairway_api::logs::{LogLine, LogSource};
use serde_json::{Value, json};

use super::scrubbed;
use crate::testing::Rig;

/// Of the Platform API's schema (https://devcenter.heroku.com/articles/platform-api-reference), the
/// definitions that Fairway answers with, without examples, descriptions, what only
/// heroku.com's own hostnames match, and a hostname's format of `uri`, which its own are not.
static SCHEMA: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("platform-api.schema.json")).unwrap());

/// Asserts that `value` is a `definition` (or a list of them), and remembers its shape.
fn check(definition: &str, value: &Value) {
    insta::assert_json_snapshot!(definition, scrubbed(value.clone()));
    let mut schema = SCHEMA.clone();
    schema["$ref"] = json!(format!("#/definitions/{definition}"));
    let validator = jsonschema::draft4::options()
        .should_validate_formats(true)
        .build(&schema);
    let validator = validator.unwrap();
    let items = value
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![value.clone()]);
    assert!(!items.is_empty(), "nothing to check for {definition}");
    for item in items {
        let errors: Vec<_> = validator
            .iter_errors(&item)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{definition}: {errors:#?}\n{item:#}");
    }
}

#[tokio::test]
async fn answers_fit_the_platform_apis_schema() {
    let rig = Rig::new().await;
    let alice = rig.alice.clone();
    check("account", &rig.get(&alice, "/account").await.expect(200));
    rig.app("shop").await;
    let order = rig.release("shop").await;
    check("app", &rig.get(&alice, "/apps/shop").await.expect(200));
    check(
        "build",
        &rig.get(&alice, &format!("/apps/shop/builds/{}", order.id))
            .await
            .expect(200),
    );
    check(
        "release",
        &rig.get(&alice, "/apps/shop/releases/1").await.expect(200),
    );
    check(
        "formation",
        &rig.get(&alice, "/apps/shop/formation").await.expect(200),
    );
    check(
        "dyno-size",
        &rig.get(&alice, "/dyno-sizes").await.expect(200),
    );
    for (definition, path) in [
        ("stack", "/stacks"),
        ("region", "/regions"),
        ("collaborator", "/apps/shop/collaborators"),
        ("app-feature", "/apps/shop/features"),
    ] {
        check(definition, &rig.get(&alice, path).await.expect(200));
    }
    let set = json!({ "GREETING": "hello" });
    let vars = rig
        .call(&alice, "PATCH", "/apps/shop/config-vars", set)
        .await
        .expect(200);
    assert_eq!(vars, json!({ "GREETING": "hello" }));
    let domain = json!({ "hostname": "www.example.com" });
    check(
        "domain",
        &rig.call(&alice, "POST", "/apps/shop/domains", domain)
            .await
            .expect(201),
    );
    let key = json!({ "public_key": include_str!("../../keys/ed25519.pub") });
    check(
        "key",
        &rig.call(&alice, "POST", "/account/keys", key)
            .await
            .expect(201),
    );
    let session = json!({ "lines": 5, "tail": true });
    let session = rig
        .call(&alice, "POST", "/apps/shop/log-sessions", session)
        .await;
    check("log-session", &session.expect(201));
    let token = json!({ "description": "for the robot", "expires_in": 3600 });
    let token = rig
        .call(&alice, "POST", "/oauth/authorizations", token)
        .await
        .expect(201);
    check("oauth-authorization", &token);
    let events = rig.get(&alice, "/apps/shop/events").await.expect(200);
    insta::assert_json_snapshot!("event", scrubbed(events));
}

#[test]
fn a_log_line_reads_as_herokus_do() {
    let line = LogLine {
        app: fairway_api::ids::AppId::from_u128(1),
        at: chrono::DateTime::UNIX_EPOCH,
        source: LogSource::App,
        process: "web.1".into(),
        pod: None,
        text: "hello".into(),
    };
    assert_eq!(
        line.render(),
        "1970-01-01T00:00:00.000000+00:00 app[web.1]: hello"
    );
}
