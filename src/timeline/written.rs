//! How the parts of a step that are bytes are written in JSON: as hexadecimal digits.

/// Bytes, if there are any.
pub(super) mod digits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    pub(in crate::timeline) fn serialize<S: Serializer, const N: usize>(
        bytes: &Option<[u8; N]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        bytes.map(hex::encode).serialize(serializer)
    }

    pub(in crate::timeline) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        deserializer: D,
    ) -> Result<Option<[u8; N]>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let mut bytes = [0; N];
        hex::decode_to_slice(text, &mut bytes).map_err(de::Error::custom)?;
        Ok(Some(bytes))
    }
}

/// The number of a request.
pub(super) mod request {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in crate::timeline) fn serialize<S: Serializer>(
        request: &u64,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{request:016x}"))
    }

    pub(in crate::timeline) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(de::Error::custom)
    }
}
