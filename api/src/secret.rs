//! A value that must never be printed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A secret string: a config var's value, a password, a token.
///
/// It goes over the wire as a plain string, but `Debug` hides it and there is no `Display`, so
/// that a log line or an error text cannot carry it by accident.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// A password to read from a screen, made of random bytes: four groups of five letters and
    /// digits that are not taken for one another, 100 bits.
    pub fn readable(random: [u8; 20]) -> Self {
        const ALPHABET: [u8; 32] = *b"abcdefghijkmnpqrstuvwxyz23456789";
        let letter = |byte: &u8| char::from(ALPHABET[usize::from(byte % 32)]);
        let groups: Vec<String> = random
            .chunks(5)
            .map(|group| group.iter().map(letter).collect())
            .collect();
        Self(groups.join("-"))
    }

    /// The value itself. Calls to this are what a review for leaks has to look at.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_readable_password_is_long_enough_for_an_account() {
        let password = Secret::readable(std::array::from_fn(|i| 13 * i as u8));
        assert_eq!(password.expose(), "ap4hw-bq5ix-cr6jy-ds7kz");
    }

    #[test]
    fn debug_hides_the_value() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "[secret]");
    }
}
