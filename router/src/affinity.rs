//! Session affinity: a cookie asks for the pod that answered its client before. It holds a word that
//! the controller made for the pod; the router only compares, so that nobody learns where pods are
//! and nobody can name one that was not theirs.

use std::sync::Arc;

use fairway_api::ids::PodId;
use http::{HeaderMap, HeaderValue, header};

use crate::table::{Endpoint, Service};

/// The cookie. It ends with the browser's session.
const COOKIE: &str = "fairway-affinity";

/// The word that a request's cookie has.
pub(crate) fn asked(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(header::COOKIE).iter();
    let pairs = values.filter_map(|value| value.to_str().ok());
    let mut pairs = pairs.flat_map(|value| value.split(';'));
    pairs.find_map(|pair| {
        let (name, word) = pair.trim().split_once('=')?;
        (name == COOKIE).then(|| word.to_owned())
    })
}

/// The pod that is asked for, if it takes requests: neither tried nor ejected at `now_ms`.
pub(crate) fn pick<'a>(
    service: &'a Service,
    word: Option<&str>,
    tried: &[PodId],
    now_ms: u64,
) -> Option<&'a Arc<Endpoint>> {
    let word = word?;
    let canary = service.canary.iter().flat_map(|it| &it.endpoints);
    service.endpoints.iter().chain(canary).find(|endpoint| {
        endpoint.affinity.as_deref() == Some(word)
            && !tried.contains(&endpoint.pod)
            && !endpoint.load.is_ejected(now_ms)
    })
}

/// The cookie for a client that another pod, or none, answered before; `None` without affinity.
pub(crate) fn cookie(
    endpoint: &Endpoint,
    asked: Option<&str>,
    scheme: &str,
) -> Option<HeaderValue> {
    let word = endpoint.affinity.as_deref()?;
    if asked == Some(word) {
        return None;
    }
    let secure = if scheme == "https" { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={word}; Path=/; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&cookie).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        for (lines, expect) in [
            (vec![], None),
            (vec!["a=b"], None),
            (vec!["fairway-affinity=w1"], Some("w1")),
            (vec!["a=b; fairway-affinity=w1; c=d"], Some("w1")),
            (
                vec!["a=fairway-affinity=w0", "fairway-affinity=w1"],
                Some("w1"),
            ),
            (vec!["xfairway-affinity=w1; fairway-affinity"], None),
        ] {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(header::COOKIE, HeaderValue::from_static(line));
            }
            assert_eq!(asked(&headers).as_deref(), expect, "{lines:?}");
        }
    }
}
