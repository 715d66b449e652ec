//! A provider's definition as written, in the same form for the built-in ones in `definitions/` and
//! for configured ones.
//!
//! These types only define the form. [`Definition::compile`](super::Definition::compile) checks the
//! rest and reports every problem with its place. Unknown keys are errors. Places within a body are
//! JSON pointers (RFC 6901); in redactions `*` stands for every element of an array and every member
//! of an object.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// A provider: its signatures, the layout of its bodies, and its event types.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DefinitionFile {
    /// How deliveries are signed. Not needed if deliveries come from queues and SNS topics only.
    pub signature: Option<SignatureFile>,
    /// The supported transport encodings of bodies.
    #[serde(default)]
    pub body: BodyFile,
    /// Where an event's attributes are stated.
    pub event: EventFile,
    /// Headers to publish as CloudEvents extensions, by extension name. They are not signed.
    #[serde(default)]
    pub extensions: BTreeMap<String, String>,
    /// Values to replace by `"[redacted]"` before an event is stored, such as `/card/number` or
    /// `/cards/*/number`. In a body that cannot be read, every member with such a name is redacted.
    #[serde(default)]
    pub redact: Vec<String>,
    /// How the provider checks whether the endpoint exists.
    #[serde(default)]
    pub probe: ProbeFile,
    /// The catalogue: event families and their types.
    #[serde(default)]
    pub families: BTreeMap<String, FamilyFile>,
}

/// How deliveries are signed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignatureFile {
    /// The signature algorithm.
    pub scheme: SchemeFile,
    /// Must be true with `scheme: none`, and only then: anybody can then send events.
    #[serde(default)]
    pub insecure_no_verification: bool,
    /// The header with the signature.
    pub header: Option<String>,
    /// How signatures are written in the header.
    #[serde(default)]
    pub form: FormFile,
    /// With `form: versions` or `form: fields`: the name of the signatures to verify, such as `v1`.
    pub version: Option<String>,
    /// With `form: single`: the text before the signature, such as `sha256=`.
    pub prefix: Option<String>,
    /// The encoding of a signature.
    #[serde(default)]
    pub encoding: EncodingFile,
    /// The signed text, made of `{id}`, `{timestamp}` and `{body}`; by default `{body}`.
    pub signed: Option<String>,
    /// The header with the signed `{id}`.
    pub id_header: Option<String>,
    /// Where the signed `{timestamp}` is stated.
    pub timestamp: Option<TimestampFile>,
    /// The encoding of the signing secret.
    #[serde(default)]
    pub secret_encoding: SecretEncodingFile,
    /// An optional text before a written secret that is not part of it, such as `whsec_`.
    pub secret_prefix: Option<String>,
}

/// A signature algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum SchemeFile {
    /// HMAC with SHA-256.
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    /// HMAC with SHA-512.
    #[serde(rename = "hmac-sha512")]
    HmacSha512,
    /// HMAC with SHA-1.
    #[serde(rename = "hmac-sha1")]
    HmacSha1,
    /// No signature.
    #[serde(rename = "none")]
    None,
}

/// How signatures are written in their header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FormFile {
    /// A single signature.
    #[default]
    Single,
    /// A space-separated list of `version,signature`, as in Standard Webhooks.
    Versions,
    /// A comma-separated list of `name=value`, as in `t=1700000000,v1=…`.
    Fields,
}

/// The encoding of a signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncodingFile {
    /// Hexadecimal, in either case.
    #[default]
    Hex,
    /// Base64, standard alphabet, padded.
    Base64,
}

/// The encoding of a signing secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecretEncodingFile {
    /// The bytes of the text are the key.
    #[default]
    Utf8,
    /// Base64, standard alphabet, padded, canonical.
    Base64,
    /// Hexadecimal.
    Hex,
}

/// Where the signed timestamp is stated, in Unix seconds.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimestampFile {
    /// A header with the timestamp, unless `field` is given.
    pub header: Option<String>,
    /// With `form: fields`: the name of the timestamp in the signature header, unless `header` is
    /// given.
    pub field: Option<String>,
    /// Largest difference between the sender's clock and this machine's, in either direction.
    #[serde(default = "TimestampFile::default_tolerance")]
    pub tolerance_seconds: u64,
}

impl TimestampFile {
    fn default_tolerance() -> u64 {
        300
    }
}

/// The supported transport encodings of bodies.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BodyFile {
    /// `identity` is always supported; gzip is recognised by its first bytes.
    pub encodings: Vec<BodyEncodingFile>,
}

impl Default for BodyFile {
    fn default() -> Self {
        Self { encodings: vec![BodyEncodingFile::Identity, BodyEncodingFile::Gzip] }
    }
}

/// A transport encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BodyEncodingFile {
    /// A plain body.
    Identity,
    /// A body compressed with gzip; the signature covers the decompressed bytes.
    Gzip,
}

/// Where an event's attributes are stated. Of several pointers to the type or the id, the first with
/// a value other than null and the empty text counts; of those to time and key, the first with a
/// usable value.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventFile {
    /// The event type.
    #[serde(rename = "type")]
    pub event_type: EventTypeFile,
    /// Pointers to the id in the signed body. Without one and without a signed id header, the digest
    /// of the body is the id.
    #[serde(default)]
    pub id: Vec<String>,
    /// The provider's own id of a delivery, from a header.
    pub delivery_id: Option<DeliveryIdFile>,
    /// Pointers to the event's time: RFC 3339 text, or an integer since the Unix epoch.
    #[serde(default)]
    pub time: Vec<String>,
    /// The unit of an integer time.
    #[serde(default)]
    pub time_unit: TimeUnitFile,
    /// Pointers to the partition key, tried after those of the type and the family.
    #[serde(default)]
    pub key: Vec<String>,
    /// Pointer to an object in the body that is the event's data, such as `/detail`. The rest of the
    /// body is an envelope, in which all other pointers are read, and is not published. By default
    /// the whole body is the data.
    pub data: Option<String>,
}

/// The provider's id of a delivery, which is the same for each attempt. It is not signed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliveryIdFile {
    /// The header with the id. `extensions` must name it too, so that the id stays with the event.
    pub header: String,
    /// Whether one body under two delivery ids makes two events, if neither a signed id nor one in
    /// the body tells them apart. Whoever captured a delivery can then repeat it under ids of their
    /// own.
    #[serde(default = "DeliveryIdFile::default_identifies")]
    pub identifies: bool,
}

impl DeliveryIdFile {
    fn default_identifies() -> bool {
        true
    }
}

/// Where the event type is stated: in the body, or in a header with an optional detail in the body.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventTypeFile {
    /// Pointers to the type in the body.
    #[serde(default)]
    pub pointers: Vec<String>,
    /// A header with the type, instead of the body. It is not signed: if no delivery id tells events
    /// apart, only the types of `families` and of a source's `custom_types` are part of the event's
    /// id; without `families` every type is.
    pub header: Option<String>,
    /// With `header`: pointer to a text in the body that is appended to the type after a dot, if
    /// there is one.
    pub join: Option<String>,
}

/// The unit of an integer time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnitFile {
    /// Nanoseconds.
    #[default]
    Nanoseconds,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
}

/// How a provider checks whether the endpoint exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProbeFile {
    /// The provider sends no probe.
    #[default]
    None,
    /// A probe has a body that is empty or `{}` and can be unsigned, or a signed one with neither id
    /// nor type.
    Empty,
}

/// An event family; topics are named after it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FamilyFile {
    /// Pointers to the partition key of the family's events.
    #[serde(default)]
    pub key: Vec<String>,
    /// How the family's events are sent, unless a type states it.
    #[serde(default = "FamilyFile::default_channels")]
    pub channels: Vec<ChannelFile>,
    /// The family's types, by their names on the wire.
    pub types: BTreeMap<String, TypeFile>,
}

impl FamilyFile {
    fn default_channels() -> Vec<ChannelFile> {
        vec![ChannelFile::Webhook]
    }
}

/// An event type.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TypeFile {
    /// Pointers to the partition key of the type's events, tried before the family's.
    #[serde(default)]
    pub key: Vec<String>,
    /// How events of this type are sent, if it differs from the family.
    pub channels: Option<Vec<ChannelFile>>,
    /// The name in the provider's documents, if it differs from the one on the wire.
    pub alias: Option<String>,
    /// Further values to redact in events of this type.
    #[serde(default)]
    pub redact: Vec<String>,
}

/// How a provider sends events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChannelFile {
    /// To an endpoint or a queue.
    Webhook,
    /// To connected WebSocket clients only.
    Websocket,
}
