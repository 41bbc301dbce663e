//! What bad input gets: status, id, and words that say what to do. One table per kind.

use axum::{
    body::Body,
    http::{Request, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::testing::{PASSWORD, Reply, Rig};

/// An error with this status and id, whose message and hint contain `says`, case ignored.
#[track_caller]
fn check(what: &str, reply: &Reply, status: u16, id: &str, says: &str) {
    let error = reply.expect(status);
    assert_eq!(error["id"], id, "{what}: {error}");
    let text = format!("{} {}", error["message"], error["hint"]).to_lowercase();
    assert!(
        text.contains(&says.to_lowercase()),
        "{what}: {error} should say {says:?}"
    );
    assert!(reply.headers.contains_key("request-id"), "{what}");
}

/// `METHOD PATH BODY => STATUS what message and hint say`
const BODIES: &str = r#"
POST /apps {"name":"X"} => 422 2 to 30 lower-case letters
POST /apps {"name":"1shop"} => 422 start with a letter
POST /apps {"name":"a/../b"} => 422 app name
POST /apps {"name":"taken"} => 409 Name taken is already taken
POST /apps {"name":"login"} => 422 reserved
POST /apps {"name":7} => 422 expected a string
POST /apps [1,2] => 422 invalid
PATCH /apps/shop {"name":"taken"} => 409 Choose another name
PATCH /apps/shop {"name":"login"} => 422 reserved
PATCH /apps/shop {"maintenance":"yes"} => 422 boolean
PATCH /apps/shop {"deploy_branch":"a b"} => 422 branch
PATCH /apps/shop/config-vars {"1A":"x"} => 422 not start with a digit
PATCH /apps/shop/config-vars {"A-B":"x"} => 422 underscores
PATCH /apps/shop/config-vars {"PORT":"80"} => 422 set by Fairway
PATCH /apps/shop/config-vars {"A":1} => 422 string
PATCH /apps/shop/config-vars {"A":"\u0000"} => 422 NUL
PATCH /apps/shop/formation/clock {"quantity":1} => 404 web, worker
PATCH /apps/shop/formation/web {"quantity":-1} => 422 -1
PATCH /apps/shop/formation/web {"quantity":1001} => 422 at most 1000
PATCH /apps/shop/formation/web {"size":"huge"} => 422 standard-1x
PATCH /apps/taken/formation/web {"quantity":1} => 404 Push the app first
PATCH /apps/shop/formation {} => 422 missing field `updates`
POST /apps/shop/domains {"hostname":"a..b"} => 422 between the dots
POST /apps/shop/domains {"hostname":"*.b.com"} => 422 wildcard
POST /apps/shop/domains {"hostname":"bücher.de"} => 422 xn--
POST /apps/shop/domains {"hostname":"intranet"} => 422 full hostname
POST /apps/shop/domains {"hostname":"taken.apps.test"} => 409 in use
POST /apps/shop/releases {"release":"v9"} => 404 Couldn't find that release
POST /apps/shop/releases {"release":"best"} => 404 like v7
POST /apps/shop/releases {"release":"v1"} => 422 current release
POST /apps/shop/builds {} => 422 git push
POST /account/keys {"public_key":"hello"} => 422 ssh-ed25519
POST /account/keys {} => 422 public_key
POST /apps/shop/log-sessions {"lines":10001} => 422 10000 lines
POST /apps/shop/log-sessions {"source":"web"} => 422 app or fairway
POST /oauth/authorizations {"expires_in":0} => 422 Leave it out
POST /oauth/authorizations {"expires_in":18446744073709551615} => 422 from 1 to
POST /oauth/authorizations {"scope":["read"]} => 422 unknown field
"#;

#[tokio::test]
async fn bad_bodies_are_refused_with_the_rule_they_break() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    rig.app("taken").await;
    rig.release("shop").await;
    let long = json!({ "description": "x".repeat(101) }).to_string();
    let big = json!({ "A": "x".repeat(64 * 1024) }).to_string();
    let many: Value = (0..20)
        .map(|n| (format!("N{n}"), json!("x".repeat(4_000))))
        .collect();
    let table = format!(
        "{BODIES}
         POST /oauth/authorizations {long} => 422 at most 100 characters
         PATCH /apps/shop/config-vars {big} => 422 the limit is 65536
         PATCH /apps/shop/config-vars {many} => 422 the limit is 65536"
    );
    for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let (call, expected) = row.split_once(" => ").unwrap();
        let mut call = call.splitn(3, ' ');
        let [method, path, body] = std::array::from_fn(|_| call.next().unwrap());
        let (status, says) = expected.split_once(' ').unwrap();
        let status = status.parse().unwrap();
        let id = match status {
            404 => "not_found",
            409 => "conflict",
            _ => "invalid_params",
        };
        let body = serde_json::from_str(body).unwrap();
        let reply = rig.call(&rig.alice, method, path, body).await;
        check(&format!("{row:.120}"), &reply, status, id, says);
    }
    let releases = rig.get(&rig.alice, "/apps/shop/releases").await.expect(200);
    assert_eq!(
        releases.as_array().unwrap().len(),
        1,
        "nothing of it left a release"
    );
}

/// `METHOD PATH => message`
const MISSING: &str = "
GET /apps/nope => Couldn't find that app.
GET /apps/nope/builds => Couldn't find that app.
GET /apps/ID => Couldn't find that app.
GET /apps/shop/builds/ID => Couldn't find that build.
GET /apps/shop/builds/not-an-id => Couldn't find that build.
DELETE /apps/shop/builds/ID => Couldn't find that build.
GET /apps/shop/releases/1 => Couldn't find that release.
GET /apps/shop/releases/current => Couldn't find that release.
GET /apps/shop/releases/-1 => Couldn't find that release.
GET /apps/shop/formation/web => Couldn't find that process type.
DELETE /apps/shop/domains/x.com => Couldn't find that domain.
DELETE /account/keys/ID => Couldn't find that key.
DELETE /oauth/authorizations/ID => Couldn't find that authorization.
GET /dyno-sizes/huge => Couldn't find that size.
GET /nothing/here => The API has no GET /nothing/here.
PUT /apps => The API has no PUT /apps.
DELETE /account => The API has no DELETE /account.
";

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    for row in MISSING.lines().filter(|row| !row.is_empty()) {
        let (call, says) = row.split_once(" => ").unwrap();
        let (method, path) = call.split_once(' ').unwrap();
        let path = path.replace("ID", "0192f0c1-2222-7333-8444-555566667777");
        let error = rig
            .call(&rig.alice, method, &path, Value::Null)
            .await
            .expect(404);
        assert_eq!(
            (&error["id"], &error["message"]),
            (&json!("not_found"), &json!(says)),
            "{row}"
        );
    }
}

#[tokio::test]
async fn bodies_that_are_no_json_or_too_much_are_refused() {
    let rig = Rig::new().await;
    let send = |body: Vec<u8>| {
        let request = Request::builder()
            .method("POST")
            .uri("/apps")
            .header(header::AUTHORIZATION, format!("Bearer {}", rig.alice));
        rig.send(request.body(Body::from(body)).unwrap())
    };
    check(
        "no JSON",
        &send(b"name=shop".to_vec()).await,
        400,
        "bad_request",
        "not JSON",
    );
    check(
        "half",
        &send(b"{\"name\": ".to_vec()).await,
        400,
        "bad_request",
        "not JSON",
    );
    check(
        "no text",
        &send(vec![0xff, 0xfe]).await,
        400,
        "bad_request",
        "not JSON",
    );
    let deep = "[".repeat(100_000).into_bytes();
    check("deep", &send(deep).await, 422, "invalid_params", "sequence");
    let big = vec![b' '; 1024 * 1024 + 1];
    check(
        "big",
        &send(big).await,
        413,
        "request_too_large",
        "1048576 bytes",
    );
    send(Vec::new()).await.expect(201);
}

#[tokio::test]
async fn bad_credentials_all_look_the_same() {
    let rig = Rig::new().await;
    let basic = |user: &str, password: &str| {
        format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
    };
    let table = [
        ("GET", "Bearer ".to_owned()),
        ("GET", "Bearer fw_wrong".to_owned()),
        ("GET", "Bearer builder-token".to_owned()),
        ("GET", "Basic !!!".to_owned()),
        ("GET", basic("anything", "fw_wrong")),
        // A password is for getting a token, not for everything else.
        ("GET", basic("alice@example.com", PASSWORD)),
        ("GET", "Digest username=\"alice\"".to_owned()),
        ("POST", basic("alice@example.com", "wrong password")),
        ("POST", basic("nobody@example.com", PASSWORD)),
        ("POST", basic("no email", PASSWORD)),
    ];
    for (method, credential) in table {
        let path = if method == "GET" {
            "/account"
        } else {
            "/oauth/authorizations"
        };
        let request = Request::builder().method(method).uri(path);
        let request = request
            .header(header::AUTHORIZATION, &credential)
            .body(Body::empty());
        let reply = rig.send(request.unwrap()).await;
        check(
            &credential,
            &reply,
            401,
            "unauthorized",
            "Invalid credentials provided.",
        );
        assert!(reply.headers.contains_key(header::WWW_AUTHENTICATE));
    }
}

#[tokio::test]
async fn tokens_come_as_the_clients_send_them() {
    let rig = Rig::new().await;
    let encode = |text: String| STANDARD.encode(text);
    let forms = [
        format!("Bearer {}", rig.alice),
        format!("bearer {}", rig.alice),
        format!(
            "Basic {}",
            encode(format!("alice@example.com:{}", rig.alice))
        ),
        format!("Basic {}", encode(format!(":{}", rig.alice))),
        format!("Basic {}", encode(format!("{}:", rig.alice))),
    ];
    for form in forms {
        let request = Request::builder()
            .uri("/account")
            .header(header::AUTHORIZATION, &form);
        let account = rig
            .send(request.body(Body::empty()).unwrap())
            .await
            .expect(200);
        assert_eq!(account["email"], "alice@example.com", "{form}");
    }
}

#[tokio::test]
async fn who_guesses_passwords_has_to_wait() {
    let rig = Rig::new().await;
    let log_in = |email: &str, password: &str| {
        let credential = format!("Basic {}", STANDARD.encode(format!("{email}:{password}")));
        let request = Request::builder()
            .method("POST")
            .uri("/oauth/authorizations");
        let request = request
            .header(header::AUTHORIZATION, credential)
            .body(Body::empty());
        rig.send(request.unwrap())
    };
    log_in("bob@example.com", PASSWORD).await.expect(201);
    for _ in 0..10 {
        log_in("bob@example.com", "wrong").await.expect(401);
    }
    let reply = log_in("bob@example.com", PASSWORD).await;
    check("guessing", &reply, 429, "rate_limit", "Wait");
    assert!(reply.headers.contains_key(header::RETRY_AFTER));
    log_in("alice@example.com", PASSWORD).await.expect(201);
    rig.get(&rig.bob, "/account").await.expect(200);
}

#[tokio::test]
async fn accounts_are_made_by_admins_and_change_their_password() {
    let rig = Rig::new().await;
    let new = |password: &str| json!({ "email": "carol@example.com", "password": password });
    let create = |body| rig.call(&rig.admin, "POST", "/users", body);
    check(
        "short",
        &create(new("1234567")).await,
        422,
        "invalid_params",
        "8 to 200",
    );
    check(
        "long",
        &create(new(&"x".repeat(201))).await,
        422,
        "invalid_params",
        "8 to 200",
    );
    let account = create(new("first password")).await.expect(201);
    assert_eq!(account["role"], "member");
    let again = create(new("first password")).await;
    check("taken", &again, 409, "conflict", "has an account already");

    let change = |old: &str| json!({ "password": old, "new_password": "second password" });
    let patch = |body| rig.call(&rig.alice, "PATCH", "/account", body);
    check(
        "wrong",
        &patch(change("wrong")).await,
        422,
        "invalid_params",
        "present password",
    );
    let other = rig
        .call(&rig.alice, "POST", "/oauth/authorizations", json!({}))
        .await
        .expect(201);
    patch(change(PASSWORD)).await.expect(200);
    rig.get(other["access_token"]["token"].as_str().unwrap(), "/account")
        .await
        .expect(401);
    rig.get(&rig.alice, "/account").await.expect(200);
}
