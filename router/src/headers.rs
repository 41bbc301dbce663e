//! What the router changes in the headers of requests and answers. Pure.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version,
    header::{self, Entry},
    request, response,
};

use crate::{failure::Failure, table::normalise_host};

/// The longest request id taken over from a client, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 200;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Headers that speak about one connection and never pass a proxy. `Connection`, `TE` and
/// `Transfer-Encoding` are treated where they are known to be there.
const HOP_BY_HOP: [HeaderName; 5] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::UPGRADE,
];

/// Who is at the other end of a connection and how it came in: made once per connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: HeaderValue,
    pub(crate) port: HeaderValue,
    pub(crate) scheme: &'static str,
}

impl Peer {
    /// A client at `address` that connected to our `port`.
    pub(crate) fn new(address: IpAddr, port: u16, scheme: &'static str) -> Self {
        let address = HeaderValue::try_from(address.to_canonical().to_string())
            .expect("an IP address is made of header characters");
        Self {
            address,
            port: HeaderValue::from(port),
            scheme,
        }
    }
}

/// The host that a request is for, as the client wrote it. Whatever another parser on the way could
/// read differently is refused: two hosts, none, one that disagrees with the request line.
pub(crate) fn host(head: &request::Parts) -> Result<HeaderValue, Failure> {
    let mut named = head.headers.get_all(header::HOST).iter();
    let (first, second) = (named.next(), named.next());
    let authority = head.uri.authority();
    if second.is_some() || head.method == Method::CONNECT {
        return Err(Failure::BadRequest);
    }
    let host = match (first, authority) {
        (Some(host), None) => host.clone(),
        (Some(host), Some(authority)) => {
            let of_header = host.to_str().ok().and_then(normalise_host);
            let of_line = normalise_host(authority.host());
            if of_header.is_none() || of_header != of_line {
                return Err(Failure::BadRequest);
            }
            host.clone()
        }
        // HTTP/2 names the host in the request line only.
        (None, Some(authority)) if head.version == Version::HTTP_2 => {
            HeaderValue::from_str(authority.as_str()).map_err(|_| Failure::BadRequest)?
        }
        // HTTP/1.0 need not name any; there is simply no app for it.
        (None, _) if head.version == Version::HTTP_10 => HeaderValue::from_static(""),
        (None, _) => return Err(Failure::BadRequest),
    };
    let valid = host.is_empty() || host.to_str().ok().and_then(normalise_host).is_some();
    if valid {
        Ok(host)
    } else {
        Err(Failure::BadRequest)
    }
}

/// The client's request id if it is harmless in logs and pages, else a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> HeaderValue {
    if let Some(given) = headers.get(X_REQUEST_ID)
        && is_sane_id(given.as_bytes())
    {
        return given.clone();
    }
    let id = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    HeaderValue::from_str(id.hyphenated().encode_lower(&mut text))
        .expect("a UUID is made of header characters")
}

fn is_sane_id(id: &[u8]) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:=+/@".contains(byte))
}

/// The protocol that a request asks to switch to, if the router lets it pass. `h2c` is not passed:
/// the requests inside would no longer be seen by the router.
pub(crate) fn upgrade(head: &request::Parts) -> Option<HeaderValue> {
    if head.version != Version::HTTP_11 {
        return None;
    }
    let mut asked = head.headers.get_all(header::UPGRADE).iter();
    let (protocol, None) = (asked.next()?, asked.next()) else {
        return None;
    };
    let named =
        tokens(&head.headers, &header::CONNECTION).any(|t| t.eq_ignore_ascii_case("upgrade"));
    let h2c = tokens(&head.headers, &header::UPGRADE).any(|t| t.eq_ignore_ascii_case("h2c"));
    (named && !h2c).then(|| protocol.clone())
}

/// Turns the client's headers into those for the pod; returns the value of X-Forwarded-For.
///
/// The forwarding headers say what this router saw. Only X-Forwarded-For is appended to, so that
/// its last entry can be trusted. `Forwarded` is dropped, since frameworks that prefer it would
/// believe a client before us.
pub(crate) fn for_pod(
    head: &mut request::Parts,
    host: &HeaderValue,
    request_id: &HeaderValue,
    peer: &Peer,
    upgrade: Option<&HeaderValue>,
) -> HeaderValue {
    if head.version == Version::HTTP_2 {
        join_cookies(&mut head.headers);
    }
    let headers = &mut head.headers;
    let trailers = headers.contains_key(header::TE)
        && tokens(headers, &header::TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    strip_hop_by_hop(headers);
    headers.remove(HTTP2_SETTINGS);
    headers.remove(header::FORWARDED);
    // We answer `100 Continue` ourselves as soon as the pod's connection takes the body.
    headers.remove(header::EXPECT);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
    let forwarded_for = appended(headers, &X_FORWARDED_FOR, &peer.address);
    headers.insert(header::HOST, host.clone());
    headers.insert(X_FORWARDED_FOR, forwarded_for.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(peer.scheme));
    headers.insert(X_FORWARDED_PORT, peer.port.clone());
    headers.insert(X_FORWARDED_HOST, host.clone());
    headers.insert(X_REQUEST_ID, request_id.clone());
    let via = HeaderValue::from_static(match head.version {
        Version::HTTP_2 => "2 fairway",
        Version::HTTP_10 => "1.0 fairway",
        _ => "1.1 fairway",
    });
    match headers.entry(header::VIA) {
        Entry::Vacant(place) => drop(place.insert(via)),
        Entry::Occupied(mut before) => before.append(via),
    }
    forwarded_for
}

/// Turns the pod's headers into those for the client.
pub(crate) fn for_client(head: &mut response::Parts) {
    let upgrade = (head.status == http::StatusCode::SWITCHING_PROTOCOLS)
        .then(|| head.headers.get(header::UPGRADE).cloned())
        .flatten();
    strip_hop_by_hop(&mut head.headers);
    if let Some(protocol) = upgrade {
        head.headers
            .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(header::UPGRADE, protocol);
    }
    // The two connections have versions of their own.
    head.version = Version::HTTP_11;
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if let Some(options) = headers.get(header::CONNECTION) {
        // Nearly every client names only itself here; nothing else has to be looked at then.
        let plain = options.as_bytes();
        let one = headers.get_all(header::CONNECTION).iter().nth(1).is_none();
        if !(one && (plain == b"keep-alive" || plain == b"close")) {
            let named: Vec<HeaderName> = tokens(headers, &header::CONNECTION)
                .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
                .collect();
            for name in named {
                headers.remove(name);
            }
        }
        headers.remove(header::CONNECTION);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove(header::TE);
    headers.remove(header::TRANSFER_ENCODING);
}

/// The values of a header that is a list, one by one.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// All values of a list header and one more behind them.
fn appended(headers: &HeaderMap, name: &HeaderName, last: &HeaderValue) -> HeaderValue {
    let mut before = headers.get_all(name).iter().peekable();
    if before.peek().is_none() {
        return last.clone();
    }
    let mut joined = Vec::new();
    for value in before {
        joined.extend_from_slice(value.as_bytes());
        joined.extend_from_slice(b", ");
    }
    joined.extend_from_slice(last.as_bytes());
    HeaderValue::from_bytes(&joined).unwrap_or_else(|_| last.clone())
}

/// HTTP/2 may split the cookies into several headers, HTTP/1.1 must not.
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_some() {
        let cookies: Vec<&[u8]> = headers
            .get_all(header::COOKIE)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
            headers.insert(header::COOKIE, joined);
        }
    }
}

#[cfg(test)]
mod tests;
