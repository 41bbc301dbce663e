//! HTTP Basic authentication.

use axum::http::{HeaderMap, header};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::{config::Credentials, error::Error};

/// The one pair of user name and password, as a hash: comparing hashes takes the same time
/// whatever the lengths are.
#[derive(Debug)]
pub(crate) struct Access {
    hash: [u8; 32],
}

impl Access {
    pub(crate) fn new(credentials: &Credentials) -> Self {
        Self {
            hash: hash(format!("{}:{}", credentials.username, credentials.password).as_bytes()),
        }
    }

    /// Lets a request through only with the right credentials. The answer to a wrong password is
    /// the one to none, so that clients ask their user.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Error> {
        let given = basic(headers).ok_or(Error::Unauthorized)?;
        if bool::from(hash(&given).ct_eq(&self.hash)) {
            Ok(())
        } else {
            Err(Error::Unauthorized)
        }
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The decoded `user:password` of a request.
fn basic(headers: &HeaderMap) -> Option<Vec<u8>> {
    let (scheme, encoded) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    BASE64_STANDARD.decode(encoded.trim()).ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_right_pair_passes() {
        let access = Access::new(&Credentials {
            username: "builder".into(),
            password: "pass:word".into(),
        });
        let encoded = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        for (header, passes) in [
            (encoded("builder:pass:word"), true),
            (
                encoded("builder:pass:word").replace("Basic", "bAsIc "),
                true,
            ),
            (encoded("builder:password"), false),
            (encoded("builder:"), false),
            (encoded(":pass:word"), false),
            (encoded("builder"), false),
            (encoded(""), false),
            ("Basic".into(), false),
            ("Basic %%%".into(), false),
            ("Bearer YnVpbGRlcjpwYXNzOndvcmQ=".into(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(
                header::AUTHORIZATION,
                HeaderValue::from_str(&header).unwrap(),
            );
            assert_eq!(access.check(&headers).is_ok(), passes, "{header}");
        }
        assert!(access.check(&HeaderMap::new()).is_err());
    }
}
