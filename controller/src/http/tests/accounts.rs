//! Accounts come and go.

use serde_json::json;

use crate::testing::{BUILDER, Rig};

#[tokio::test]
async fn the_first_account_is_made_once_and_its_password_works() {
    let dir = tempfile::tempdir().unwrap();
    let controller = crate::Controller::bind(crate::testing::config(&dir))
        .await
        .unwrap();
    let email = || "first@example.com".parse().unwrap();
    let password = crate::readable_password();
    let made = controller.ensure_admin(email(), password.clone()).await;
    assert!(made.unwrap());
    let again = controller
        .ensure_admin(email(), crate::readable_password())
        .await;
    assert!(!again.unwrap());
    let state = controller.state();
    let account = state
        .logins
        .check(&state.store, &email(), &password)
        .await
        .unwrap();
    assert!(account.is_admin());
}

#[tokio::test]
async fn an_account_goes_without_its_apps_and_may_come_back() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    let remove = |who: &'static str, body| {
        let path = format!("/users/{who}");
        let rig = &rig;
        async move { rig.call(&rig.admin, "DELETE", &path, body).await }
    };
    for (who, body, status, says) in [
        ("alice@example.com", json!({}), 409, "owns apps: shop."),
        ("admin@example.com", json!({}), 422, "your own account"),
        ("nobody@example.com", json!({}), 404, "that account"),
        (
            "alice@example.com",
            json!({ "transfer_to": "alice@example.com" }),
            422,
            "stay with",
        ),
        (
            "alice@example.com",
            json!({ "transfer_to": "nobody@example.com" }),
            404,
            "account",
        ),
    ] {
        let error = remove(who, body).await.expect(status);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(says), "{who}: {message}");
    }
    rig.get(&rig.alice, "/apps/shop").await.expect(200);

    let to_bob = json!({ "transfer_to": "bob@example.com" });
    remove("ALICE@example.com", to_bob).await.expect(200);
    rig.get(&rig.alice, "/account").await.expect(401);
    rig.get(&rig.bob, "/apps/shop").await.expect(200);
    let left = rig.get(&rig.admin, "/users").await.expect(200);
    assert_eq!(left.as_array().unwrap().len(), 2);
    remove("alice@example.com", json!({})).await.expect(404);

    let again = json!({ "email": "alice@example.com", "password": "long enough" });
    rig.call(&rig.admin, "POST", "/users", again.clone())
        .await
        .expect(201);
    rig.call(&rig.admin, "POST", "/users", again)
        .await
        .expect(409);
    rig.get(&rig.alice, "/account").await.expect(401);
}

#[tokio::test]
async fn an_app_that_a_push_made_for_nothing_goes_unless_it_was_used() {
    let rig = Rig::with(|config| config.create_on_push = true).await;
    let owner = rig.get(&rig.alice, "/account").await.expect(200)["email"].clone();
    for (name, used, left) in [("fresh", false, 404), ("kept", true, 200)] {
        let made = rig.call(&rig.alice, "POST", "/apps", json!({ "name": name }));
        let app = made.await.expect(201);
        assert_eq!(app["owner"]["email"], owner);
        if used {
            let set = json!({ "A": "b" });
            let path = format!("/apps/{name}/config-vars");
            rig.call(&rig.alice, "PATCH", &path, set).await.expect(200);
        }
        let give_up = json!({ "app": app["id"] });
        let given_up = rig.call(BUILDER, "POST", "/internal/git/give-up", give_up);
        given_up.await.expect(204);
        let path = format!("/apps/{name}");
        rig.get(&rig.alice, &path).await.expect(left);
    }
}
