//! What the router answers by itself: error pages for people, a small JSON for programs.

use bytes::Bytes;
use http::{HeaderValue, Response, header};

use crate::failure::Failure;

/// The answer to a request that no pod answered, in the form that its Accept header prefers. The
/// request id is plain text that has been checked.
pub(crate) fn page(
    failure: Failure,
    request_id: &HeaderValue,
    accept: Option<&HeaderValue>,
) -> Response<Bytes> {
    let id = request_id.to_str().unwrap_or_default();
    let (body, content_type) = if wants_json(accept) {
        (json(failure, id), "application/json")
    } else {
        (html(failure, id), "text/html; charset=utf-8")
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = failure.status();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    headers.insert("x-request-id", request_id.clone());
    headers.insert("x-fairway-error", HeaderValue::from_static(failure.code()));
    response
}

/// True if JSON stands in Accept and HTML does not stand before it.
fn wants_json(accept: Option<&HeaderValue>) -> bool {
    let accept = accept
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    for kind in accept.split(',') {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("text/html") {
            return false;
        }
        let subtype = kind.to_ascii_lowercase();
        if subtype == "application/json" || subtype.ends_with("+json") {
            return true;
        }
    }
    false
}

fn json(failure: Failure, request_id: &str) -> String {
    let (_, text) = failure.page();
    serde_json::json!({ "id": failure.code(), "message": text, "request_id": request_id })
        .to_string()
}

/// Everything inline, since the page must look right when nothing else can be reached.
fn html(failure: Failure, request_id: &str) -> String {
    let (title, text) = failure.page();
    let (status, code) = (failure.status().as_u16(), failure.code());
    let text = code_marks(text);
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #1d2733; --soft: #5d6b7a; --line: #d9e0e7; --ground: #f6f8fa; --card: #fff; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e6ebf0; --soft: #93a1af; --line: #2c3742; --ground: #12181f; --card: #1a222b; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem; background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }}
main {{ width: 100%; max-width: 34rem; padding: 2rem; background: var(--card); border: 1px solid var(--line); border-radius: 12px; }}
p.status {{ margin: 0; color: var(--soft); font-size: .875rem; letter-spacing: .04em; }}
h1 {{ margin: .25rem 0 .75rem; font-size: 1.5rem; line-height: 1.25; }}
p {{ margin: 0; }}
code {{ font: .875em ui-monospace, monospace; overflow-wrap: anywhere; }}
main > p code {{ white-space: nowrap; }}
footer {{ margin-top: 1.5rem; padding-top: 1rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .8125rem; }}
</style>
</head>
<body>
<main>
<p class="status">{status} &middot; {code}</p>
<h1>{title}</h1>
<p>{text}</p>
<footer>Request <code>{request_id}</code></footer>
</main>
</body>
</html>
"#
    )
}

/// Turns `backquoted` words into code elements.
fn code_marks(text: &str) -> String {
    text.split('`')
        .enumerate()
        .map(|(n, part)| {
            if n % 2 == 1 {
                format!("<code>{part}</code>")
            } else {
                part.to_owned()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::{page, wants_json};
    use crate::failure::Failure;

    #[test]
    fn json_only_when_it_is_preferred() {
        for (accept, expect) in [
            ("application/json", true),
            ("application/vnd.heroku+json; version=3", true),
            ("Application/JSON;q=0.9, */*", true),
            (
                "text/html,application/xhtml+xml,application/json;q=0.9",
                false,
            ),
            ("*/*", false),
            ("", false),
        ] {
            let value = HeaderValue::from_static(accept);
            assert_eq!(wants_json(Some(&value)), expect, "{accept}");
        }
        assert!(!wants_json(None));
    }

    #[test]
    fn pages_name_the_code_and_the_request() {
        let id = HeaderValue::from_static("req-1");
        let response = page(Failure::NoPods, &id, None);
        let body = String::from_utf8(response.body().to_vec()).unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["x-fairway-error"], "no-pods");
        assert!(
            body.contains("503 &middot; no-pods") && body.contains("req-1"),
            "{body}"
        );
        assert!(body.contains("<code>app ps</code>"), "{body}");
    }
}
