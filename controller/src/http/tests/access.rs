//! Who may call what: every endpoint by everybody. An endpoint that is not in the table fails the
//! last test, so that none is opened without being looked at.

use serde_json::{Value, json};

use crate::testing::{BUILDER, NODE, ROUTER, Rig};

/// Whom an endpoint serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serves {
    /// Any account.
    Accounts,
    Admins,
    /// The app's owner and admins; for others the app does not exist.
    Owner,
    Builders,
    Nodes,
    Routers,
    AnyRole,
    /// Whoever has the signed URL or the password; without it nobody.
    Proof,
}

use Serves::*;

const ENDPOINTS: &[(&str, &str, Serves)] = &[
    ("GET", "/account", Accounts),
    ("PATCH", "/account", Accounts),
    ("GET", "/users", Admins),
    ("POST", "/users", Admins),
    ("DELETE", "/users/{id}", Admins),
    ("GET", "/account/keys", Accounts),
    ("POST", "/account/keys", Accounts),
    ("GET", "/account/keys/{id}", Accounts),
    ("DELETE", "/account/keys/{id}", Accounts),
    ("POST", "/oauth/authorizations", Proof),
    ("GET", "/oauth/authorizations", Accounts),
    ("GET", "/oauth/authorizations/{id}", Accounts),
    ("DELETE", "/oauth/authorizations/{id}", Accounts),
    ("GET", "/dyno-sizes", Accounts),
    ("GET", "/dyno-sizes/{id}", Accounts),
    ("GET", "/regions", Accounts),
    ("GET", "/stacks", Accounts),
    ("GET", "/users/{id}/apps", Accounts),
    ("GET", "/apps", Accounts),
    ("POST", "/apps", Accounts),
    ("GET", "/apps/{app}", Owner),
    ("PATCH", "/apps/{app}", Owner),
    ("GET", "/apps/{app}/addon-attachments", Owner),
    ("GET", "/apps/{app}/addons", Owner),
    ("GET", "/apps/{app}/buildpack-installations", Owner),
    ("GET", "/apps/{app}/collaborators", Owner),
    ("GET", "/apps/{app}/log-drains", Owner),
    ("GET", "/apps/{app}/sni-endpoints", Owner),
    ("GET", "/apps/{app}/builds", Owner),
    ("POST", "/apps/{app}/builds", Owner),
    ("GET", "/apps/{app}/builds/{id}", Owner),
    ("DELETE", "/apps/{app}/builds/{id}", Owner),
    ("GET", "/apps/{app}/releases", Owner),
    ("POST", "/apps/{app}/releases", Owner),
    ("GET", "/apps/{app}/releases/{id}", Owner),
    ("GET", "/apps/{app}/releases/{id}/config-vars", Owner),
    ("GET", "/apps/{app}/deployments", Owner),
    ("GET", "/apps/{app}/deployments/{id}", Owner),
    (
        "POST",
        "/apps/{app}/deployments/{id}/actions/{action}",
        Owner,
    ),
    ("GET", "/apps/{app}/deploy-strategy", Owner),
    ("PUT", "/apps/{app}/deploy-strategy", Owner),
    ("GET", "/apps/{app}/volumes", Owner),
    ("POST", "/apps/{app}/volumes", Owner),
    ("GET", "/apps/{app}/volumes/{id}", Owner),
    ("DELETE", "/apps/{app}/volumes/{id}", Owner),
    ("PUT", "/apps/{app}/volumes/{id}/mounts/{type}", Owner),
    ("DELETE", "/apps/{app}/volumes/{id}/mounts/{type}", Owner),
    ("POST", "/apps/{app}/volumes/{id}/actions/snapshot", Owner),
    ("POST", "/apps/{app}/volumes/{id}/actions/restore", Owner),
    ("POST", "/apps/{app}/volumes/{id}/actions/move", Owner),
    ("GET", "/apps/{app}/volume-snapshots", Owner),
    ("DELETE", "/apps/{app}/volume-snapshots/{id}", Owner),
    ("GET", "/apps/{app}/config-files", Owner),
    ("PUT", "/apps/{app}/config-files/{id}", Owner),
    ("DELETE", "/apps/{app}/config-files/{id}", Owner),
    ("DELETE", "/apps/{app}/deploy-strategy", Owner),
    ("GET", "/apps/{app}/formation", Owner),
    ("PATCH", "/apps/{app}/formation", Owner),
    ("GET", "/apps/{app}/formation/{type}", Owner),
    ("PATCH", "/apps/{app}/formation/{type}", Owner),
    ("GET", "/apps/{app}/autoscale", Owner),
    ("GET", "/apps/{app}/autoscale/{type}", Owner),
    ("PUT", "/apps/{app}/autoscale/{type}", Owner),
    ("DELETE", "/apps/{app}/autoscale/{type}", Owner),
    ("GET", "/apps/{app}/metrics", Owner),
    ("GET", "/apps/{app}/placement", Owner),
    ("GET", "/apps/{app}/placement/{type}", Owner),
    ("PUT", "/apps/{app}/placement/{type}", Owner),
    ("DELETE", "/apps/{app}/placement/{type}", Owner),
    ("GET", "/apps/{app}/features", Owner),
    ("GET", "/apps/{app}/features/{id}", Owner),
    ("PATCH", "/apps/{app}/features/{id}", Owner),
    ("GET", "/apps/{app}/config-vars", Owner),
    ("PATCH", "/apps/{app}/config-vars", Owner),
    ("GET", "/apps/{app}/domains", Owner),
    ("POST", "/apps/{app}/domains", Owner),
    ("GET", "/apps/{app}/domains/{id}", Owner),
    ("DELETE", "/apps/{app}/domains/{id}", Owner),
    ("GET", "/apps/{app}/network", Owner),
    ("POST", "/apps/{app}/network", Owner),
    ("DELETE", "/apps/{app}/network/{id}", Owner),
    ("GET", "/apps/{app}/external-names", Owner),
    ("PUT", "/apps/{app}/external-names/{id}", Owner),
    ("DELETE", "/apps/{app}/external-names/{id}", Owner),
    ("POST", "/apps/{app}/log-sessions", Owner),
    ("GET", "/apps/{app}/events", Owner),
    ("GET", "/apps/{app}/events/stream", Owner),
    ("GET", "/apps/{app}/dynos", Owner),
    ("POST", "/apps/{app}/dynos", Owner),
    ("DELETE", "/apps/{app}/dynos", Owner),
    ("GET", "/apps/{app}/dynos/{dyno}", Owner),
    ("DELETE", "/apps/{app}/dynos/{dyno}", Owner),
    ("POST", "/apps/{app}/dynos/{dyno}/actions/stop", Owner),
    ("GET", "/apps/{app}/jobs", Owner),
    ("GET", "/apps/{app}/jobs/{id}", Owner),
    ("PATCH", "/apps/{app}/jobs/{id}", Owner),
    ("POST", "/apps/{app}/jobs/{id}/runs", Owner),
    ("GET", "/apps/{app}/runs", Owner),
    ("POST", "/apps/{app}/runs", Owner),
    ("GET", "/apps/{app}/runs/{id}", Owner),
    ("POST", "/apps/{app}/runs/{id}/actions/stop", Owner),
    ("POST", "/apps/{app}/dynos/{dyno}/sessions", Owner),
    // Last of the app's: it is gone afterwards.
    ("DELETE", "/apps/{app}", Owner),
    ("GET", "/nodes", Admins),
    ("GET", "/nodes/{node}", Admins),
    ("PATCH", "/nodes/{node}", Admins),
    ("DELETE", "/nodes/{node}", Admins),
    ("GET", "/nodes/{node}/pods", Admins),
    ("POST", "/node-tokens", Admins),
    ("GET", "/events", Admins),
    ("GET", "/rebalance", Admins),
    ("POST", "/rebalance", Admins),
    ("GET", "/events/stream", Admins),
    ("GET", "/streams/logs/{id}", Proof),
    ("GET", "/streams/builds/{id}", Proof),
    ("GET", "/streams/attach/{id}", Proof),
    ("GET", "/streams/sessions/{id}", Proof),
    ("POST", "/internal/git/authorize", Builders),
    ("POST", "/internal/git/give-up", Builders),
    ("POST", "/internal/git/size", Builders),
    ("GET", "/internal/wanted", AnyRole),
    ("GET", "/internal/wanted/notice", AnyRole),
    ("POST", "/internal/builds", Builders),
    ("POST", "/internal/builds/claim", Builders),
    ("POST", "/internal/builds/{id}/heartbeat", Builders),
    ("POST", "/internal/builds/{id}/output", Builders),
    ("GET", "/internal/builds/{id}/output", Builders),
    ("POST", "/internal/builds/{id}/result", Builders),
    ("GET", "/internal/builds/{id}/verdict", Builders),
    ("POST", "/internal/logs", AnyRole),
    ("GET", "/internal/attach/{id}", Nodes),
    ("GET", "/internal/nodes/{name}/plan", Nodes),
    ("POST", "/internal/nodes/{name}/status", Nodes),
    ("GET", "/internal/nodes/{name}/sessions", Nodes),
    (
        "GET",
        "/internal/nodes/{name}/volumes/{id}/snapshots/{snapshot}",
        Nodes,
    ),
    (
        "PUT",
        "/internal/nodes/{name}/volumes/{id}/snapshots/{snapshot}",
        Nodes,
    ),
    (
        "POST",
        "/internal/nodes/{name}/volumes/{id}/snapshots/{snapshot}",
        Nodes,
    ),
    ("GET", "/internal/routers/{name}/table", Routers),
    ("POST", "/internal/routers/{name}/status", Routers),
    ("POST", "/internal/routers/{name}/wake", Routers),
];

/// A path with something in its places. `shop` is Alice's; nothing else exists.
fn filled(path: &str) -> String {
    path.replace("{app}", "shop")
        .replace("{id}", "0192f0c1-2222-7333-8444-555566667777")
        .replace("{type}", "web")
        .replace("{dyno}", "web.1")
        .replace("{node}", "one")
        .replace("{name}", "other")
        // A stream that begins never ends; one that is asked for wrongly does not begin.
        .replace("/events/stream", "/events/stream?process=%25")
}

/// What a caller who may not gets: never more than that.
fn refusal(serves: Serves, caller: &str) -> Option<u16> {
    let role = ["builder", "node", "router"].contains(&caller);
    match (serves, caller) {
        (Proof, _) => Some(if caller == "nobody" { 401 } else { 0 }),
        (_, "nobody" | "stranger") => Some(401),
        (Accounts | Admins | Owner, _) if role => Some(401),
        (Accounts, _) | (Owner, "alice" | "admin") | (Admins, "admin") => None,
        (Owner, _) => Some(404),
        (Admins, _) => Some(403),
        (Builders, "builder") | (Nodes, "node") | (Routers, "router") => None,
        (AnyRole, _) if role => None,
        (Builders | Nodes | Routers | AnyRole, _) => Some(403),
    }
}

#[tokio::test]
async fn every_endpoint_serves_those_it_should_and_nobody_else() {
    let rig = Rig::new().await;
    rig.app("shop").await;
    let callers = [
        ("nobody", ""),
        ("stranger", "fw_made-up"),
        ("builder", BUILDER),
        ("node", NODE),
        ("router", ROUTER),
        ("bob", &rig.bob),
        ("admin", &rig.admin),
        ("alice", &rig.alice),
    ];
    for (method, path, serves) in ENDPOINTS.iter().filter(|(_, _, serves)| *serves != Proof) {
        for (caller, token) in callers {
            let refused = refusal(*serves, caller);
            if refused.is_none() && *method == "DELETE" && caller == "admin" {
                continue;
            }
            // Admitted callers get past the door, whatever is said to a body of nothing there.
            let body = if *method == "GET" {
                Value::Null
            } else {
                json!("nothing that fits")
            };
            let reply = rig.call(token, method, &filled(path), body).await;
            let status = reply.status.as_u16();
            let what = format!("{method} {path} by {caller}: {reply:?}");
            match refused {
                Some(refused) => {
                    assert_eq!(status, refused, "{what}");
                    assert_eq!(
                        reply.json().as_object().unwrap().len(),
                        fields(&reply.json())
                    );
                }
                None if path.contains("/{name}/") => {
                    assert_eq!(status, 403, "acting for another: {what}");
                }
                None => {
                    assert!(![401, 403, 500].contains(&status), "{what}");
                    assert!(!reply.text.contains("Couldn't find that app"), "{what}");
                }
            }
        }
    }
}

/// An error has an id, a message and perhaps a hint: no data.
fn fields(error: &Value) -> usize {
    ["id", "message", "url", "hint"]
        .iter()
        .filter(|field| error.get(**field).is_some())
        .count()
}

#[tokio::test]
async fn paths_with_their_own_proof_refuse_whoever_has_none() {
    let rig = Rig::new().await;
    for (method, path, _) in ENDPOINTS.iter().filter(|(_, _, serves)| *serves == Proof) {
        for token in ["", "fw_made-up", BUILDER] {
            for query in ["", "?sig=", "?sig=made.up"] {
                let path = format!("{}{query}", filled(path));
                let reply = rig.call(token, method, &path, Value::Null).await;
                let status = reply.status.as_u16();
                assert!(
                    [400, 401, 403, 426].contains(&status),
                    "{method} {path}: {reply:?}"
                );
            }
        }
    }
}

/// `.route("/path", get(..).post(..))` in the sources of the handlers.
fn routes_in_sources() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http");
    let mut found = Vec::new();
    for folder in [folder.to_owned(), format!("{folder}/internal")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|end| end != "rs") {
                continue;
            }
            let source: String = std::fs::read_to_string(path).unwrap();
            let source: String = source.split_whitespace().collect();
            for part in source.split(".route(\"").skip(1) {
                let (path, rest) = part.split_once('"').unwrap();
                for method in ["get", "post", "patch", "put", "delete"] {
                    let end = rest.find(".route(").unwrap_or(rest.len());
                    let handlers = &rest[..rest.find("))").map_or(end, |at| at.min(end))];
                    let called = handlers.contains(&format!(",{method}("))
                        || handlers.contains(&format!(".{method}("));
                    if called {
                        found.push((method.to_uppercase(), path.to_owned()));
                    }
                }
            }
        }
    }
    found
}

#[test]
fn the_table_has_every_endpoint() {
    let found = routes_in_sources();
    assert!(found.len() > 50, "the sources are read right: {found:?}");
    for (method, path) in &found {
        let listed = ENDPOINTS.iter().any(|(m, p, _)| m == method && p == path);
        assert!(
            listed,
            "{method} {path} is not in the table of who may call what"
        );
    }
    assert_eq!(
        found.len(),
        ENDPOINTS.len(),
        "the table lists what does not exist"
    );
}
