//! The fingerprint of a configuration.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes of a fingerprint.
pub const FINGERPRINT_BYTES: usize = 6;

/// The fingerprint of a configuration: the first 6 bytes of a SHA-256, as text 12 hexadecimal digits. Each
/// event has that of the configuration under which it was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; FINGERPRINT_BYTES]);

/// A text that is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the fingerprint of a configuration: 12 hexadecimal digits")]
pub struct FingerprintError;

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Other forms that the decoder takes, such as a prefix `0x`, are none.
        if text.len() != 2 * FINGERPRINT_BYTES {
            return Err(FingerprintError);
        }
        let mut bytes = [0; FINGERPRINT_BYTES];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| FingerprintError)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Fingerprint {
    /// As its digits.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_is_written_and_nothing_else_is_one() {
        let fingerprint = Fingerprint([0x3f, 0xa9, 0xc1, 0, 0xff, 7]);
        assert_eq!(fingerprint.to_string(), "3fa9c100ff07");
        assert_eq!("3fa9c100ff07".parse(), Ok(fingerprint));
        let json = serde_json::to_string(&fingerprint).expect("it is a text");
        assert_eq!(json, r#""3fa9c100ff07""#);
        assert_eq!(serde_json::from_str::<Fingerprint>(&json).expect("it is one"), fingerprint);
        for no_fingerprint in ["", "3fa9c1", "3fa9c100ff0701", "0x3fa9c100ff", "3fa9c100ff0g", "3fa9c1 0ff07"]
        {
            assert_eq!(no_fingerprint.parse::<Fingerprint>(), Err(FingerprintError), "{no_fingerprint}");
        }
    }
}
