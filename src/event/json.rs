//! How the nouns that the admin API shows are written in JSON, and read again.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Placement, Position, Timestamp};

impl Serialize for Timestamp {
    /// As RFC 3339 text, to the nanosecond.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_rfc3339())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let expected = "expected a moment in RFC 3339, from 1677 to 2262";
        Self::from_rfc3339(&text).ok_or_else(|| de::Error::custom(expected))
    }
}

impl Serialize for Position {
    /// As a number.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u64::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

impl JsonSchema for Position {
    fn schema_name() -> Cow<'static, str> {
        "Position".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 0 })
    }
}

impl JsonSchema for Placement {
    fn schema_name() -> Cow<'static, str> {
        "Placement".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<PlacementDocument>::json_schema(generator)
    }
}

/// A placement as JSON has it. Where nothing is stated, there is `null` instead.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
#[serde(untagged)]
enum PlacementDocument {
    Offset { partition: i32, offset: i64 },
    Message { message: String },
    Line { file: String, offset: u64 },
}

impl Serialize for Placement {
    /// `{"partition":1,"offset":42}`, `{"message":"…"}`, `{"file":"00000001.jsonl","offset":1234}` or `null`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = match *self {
            Self::Unstated => None,
            Self::Offset { partition, offset } => Some(PlacementDocument::Offset { partition, offset }),
            Self::Message(_) => Some(PlacementDocument::Message { message: self.to_string() }),
            Self::Line { file, offset } => {
                Some(PlacementDocument::Line { file: Self::file_name(file), offset })
            }
        };
        document.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Placement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Option::<PlacementDocument>::deserialize(deserializer)? {
            None => Self::Unstated,
            Some(PlacementDocument::Offset { partition, offset }) => Self::offset(partition, offset),
            Some(PlacementDocument::Message { message }) => Self::message(&message),
            Some(PlacementDocument::Line { file, offset }) => {
                let number = Self::file_number(&file);
                let file = number.ok_or_else(|| de::Error::custom("expected a file of a topic"))?;
                Self::Line { file, offset }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_json_is_read_the_same_again() {
        let uuid = "0b3c1f00-9d1e-5a77-8f43-4402cbd1e0aa";
        for (placement, written) in [
            (Placement::Unstated, "null".to_owned()),
            (Placement::offset(1, 42), r#"{"partition":1,"offset":42}"#.into()),
            (Placement::message(uuid), format!(r#"{{"message":"{uuid}"}}"#)),
            (
                Placement::Line { file: 123_456_789, offset: 7 },
                r#"{"file":"123456789.jsonl","offset":7}"#.into(),
            ),
            (Placement::Line { file: 1, offset: 1234 }, r#"{"file":"00000001.jsonl","offset":1234}"#.into()),
        ] {
            assert_eq!(serde_json::to_string(&placement).expect("JSON"), written);
            assert_eq!(serde_json::from_str::<Placement>(&written).expect("a placement"), placement);
        }
        let moment = Timestamp(1_778_198_400_000_000_001);
        let written = serde_json::to_string(&(moment, Position(9))).expect("JSON");
        assert_eq!(written, r#"["2026-05-08T00:00:00.000000001Z",9]"#);
        assert_eq!(
            serde_json::from_str::<(Timestamp, Position)>(&written).expect("read"),
            (moment, Position(9))
        );
    }
}
