//! The dashboard against a real HTTP server that speaks a few calls of the API.

use axum::{
    Json, Router,
    body::Body,
    http::{Request, Response, StatusCode, header},
    routing::{get, patch, post},
};
use fairway_api::client::Client;
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;

use super::{Config, router};

const USER: &str = "00000000-0000-7000-8000-000000000001";
const AT: &str = "2026-11-21T21:30:43Z";

/// An API with one account, whose password is `right` and whose token is `t0ken`, and no apps.
async fn api() -> Router {
    let token = json!({
        "id": USER, "description": null, "scope": ["global"],
        "access_token": { "id": USER, "token": "t0ken", "expires_in": 60 },
        "user": { "id": USER, "email": "a@b" }, "created_at": AT, "updated_at": AT,
    });
    let refused = || {
        let body = json!({ "id": "unauthorized", "message": "the password is wrong" });
        (StatusCode::UNAUTHORIZED, Json(body))
    };
    let knows = |headers: &axum::http::HeaderMap, value: &str| {
        headers
            .get(header::AUTHORIZATION)
            .is_some_and(|found| found == value)
    };
    let api = Router::new()
        .route(
            "/oauth/authorizations",
            post(move |headers: axum::http::HeaderMap| async move {
                // a@b:right
                if knows(&headers, "Basic YUBiOnJpZ2h0") {
                    Ok(Json(token))
                } else {
                    Err(refused())
                }
            })
            .get(async || Json(json!([listed_token("Dashboard")]))),
        )
        .route(
            "/account",
            patch(async |Json(change): Json<serde_json::Value>| {
                if change["password"] == "right" {
                    Ok(Json(json!({
                        "id": USER, "email": "a@b", "role": "admin", "created_at": AT,
                        "updated_at": AT,
                    })))
                } else {
                    let body = json!({ "id": "invalid_params", "message": "It is wrong." });
                    Err((StatusCode::UNPROCESSABLE_ENTITY, Json(body)))
                }
            })
            .get(move |headers: axum::http::HeaderMap| async move {
                let account = json!({
                    "id": USER, "email": "a@b", "role": "admin", "created_at": AT, "updated_at": AT,
                });
                if knows(&headers, "Bearer t0ken") {
                    Ok(Json(account))
                } else {
                    Err(refused())
                }
            }),
        )
        .route(
            "/oauth/authorizations/{id}",
            get(async || Json(listed_token("Dashboard"))),
        )
        .route("/apps", get(|| async { Json(json!([])) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    tokio::spawn(async move { axum::serve(listener, api).await });
    router(Config {
        client: Client::new(base, None),
        secure_cookie: false,
    })
}

fn listed_token(description: &str) -> serde_json::Value {
    json!({
        "id": USER, "description": description, "scope": ["global"], "access_token": null,
        "user": { "id": USER, "email": "a@b" }, "created_at": AT, "updated_at": AT,
    })
}

fn get_page(path: &str) -> Request<Body> {
    Request::get(path)
        .header(header::HOST, "localhost")
        .body(Body::empty())
        .unwrap()
}

fn post_form(path: &str, site: &str, body: &'static str) -> Request<Body> {
    Request::post(path)
        .header(header::HOST, "localhost")
        .header("sec-fetch-site", site)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(body))
        .unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn whoever_is_not_logged_in_is_sent_to_the_login() {
    let dashboard = api().await;
    for path in [
        "/dashboard",
        "/dashboard/apps/shop",
        "/dashboard/apps/shop/logs/stream",
    ] {
        let response = dashboard.clone().oneshot(get_page(path)).await.unwrap();
        assert_eq!(response.status(), StatusCode::SEE_OTHER, "{path}");
        assert_eq!(response.headers()[header::LOCATION], "/login", "{path}");
    }
}

#[tokio::test]
async fn a_login_sets_a_cookie_that_opens_the_dashboard() {
    let dashboard = api().await;
    let form = post_form("/login", "same-origin", "email=a%40b&password=right");
    let response = dashboard.clone().oneshot(form).await.unwrap();
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let cookie = response.headers()[header::SET_COOKIE]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );

    let mut request = get_page("/dashboard");
    let pair = cookie.split(';').next().unwrap().parse().unwrap();
    request.headers_mut().insert(header::COOKIE, pair);
    let response = dashboard.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(text(response).await.contains("No apps yet"));
}

#[tokio::test]
async fn a_wrong_password_shows_the_form_again_with_the_reason() {
    let form = post_form("/login", "same-origin", "email=a%40b&password=wrong");
    let response = api().await.oneshot(form).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let page = text(response).await;
    assert!(
        page.contains("the password is wrong") && page.contains("value=\"a@b\""),
        "{page}"
    );
}

#[tokio::test]
async fn a_password_is_changed_on_the_account_page() {
    for (form, status, says) in [
        (
            "password=right&new_password=long+enough&again=long+enough",
            200,
            "was changed",
        ),
        (
            "password=right&new_password=long+enough&again=other",
            422,
            "differ",
        ),
        (
            "password=wrong&new_password=long+enough&again=long+enough",
            422,
            "It is wrong.",
        ),
    ] {
        let mut request = post_form("/dashboard/account/password", "same-origin", form);
        let cookie = "fairway_session=t0ken".parse().unwrap();
        request.headers_mut().insert(header::COOKIE, cookie);
        let response = api().await.oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{form}");
        let page = text(response).await;
        assert!(
            page.contains(says) && page.contains("this session"),
            "{page}"
        );
    }
}

#[tokio::test]
async fn a_form_on_another_site_can_do_nothing() {
    for path in ["/login", "/logout", "/dashboard/apps"] {
        let form = post_form(path, "cross-site", "name=x");
        let response = api().await.oneshot(form).await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test]
async fn an_address_that_leads_nowhere_is_answered_with_a_page() {
    for path in [
        "/dashboard/nothing",
        "/dashboard/apps/No_Name",
        "/dashboard/apps/shop/builds/x",
    ] {
        let mut request = get_page(path);
        let cookie = "fairway_session=t0ken".parse().unwrap();
        request.headers_mut().insert(header::COOKIE, cookie);
        let response = api().await.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        let page = text(response).await;
        assert!(page.contains("<h1>Not found</h1>"), "{page}");
    }
}

#[tokio::test]
async fn a_form_that_cannot_be_read_is_answered_with_a_page() {
    let mut request = post_form(
        "/dashboard/apps/shop/scale",
        "same-origin",
        "process_type=web&quantity=-1&size=standard-1x",
    );
    let cookie = "fairway_session=t0ken".parse().unwrap();
    request.headers_mut().insert(header::COOKIE, cookie);
    let response = api().await.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = text(response).await;
    assert!(
        page.contains("quantity") && page.contains("All apps"),
        "{page}"
    );
}

#[tokio::test]
async fn assets_are_served_and_nothing_else() {
    let dashboard = api().await;
    for (path, expected) in [
        ("/assets/style.css", StatusCode::OK),
        ("/assets/live.js", StatusCode::OK),
        ("/assets/icon.svg", StatusCode::OK),
        ("/assets/..%2fCargo.toml", StatusCode::NOT_FOUND),
        ("/assets/nothing", StatusCode::NOT_FOUND),
    ] {
        let response = dashboard.clone().oneshot(get_page(path)).await.unwrap();
        assert_eq!(response.status(), expected, "{path}");
    }
}
