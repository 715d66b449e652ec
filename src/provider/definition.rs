//! A provider's definition as it is written: the same form for the built-in ones beside this file
//! and for those that a user configures.
//!
//! This is only the shape; [`Definition::compile`](super::Definition::compile) checks what the
//! shape cannot and reports every problem with its place. Unknown keys are errors. Places within
//! a body are JSON pointers (RFC 6901); in redactions `*` stands for every element of an array and
//! every member of an object.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// How a provider signs, what its bodies look like, and which event types it has.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DefinitionFile {
    /// How deliveries are signed. Not needed where only queues and topics bring them: these vouch for
    /// what they bring.
    pub signature: Option<SignatureFile>,
    /// The transport encodings of bodies that are understood.
    #[serde(default)]
    pub body: BodyFile,
    /// Where an event's attributes stand.
    pub event: EventFile,
    /// Headers that travel along as CloudEvents extensions, by extension name. They are not signed.
    #[serde(default)]
    pub extensions: BTreeMap<String, String>,
    /// Values that are replaced by `"[redacted]"` before an event is stored, such as `/card/number` or
    /// `/cards/*/number`. Of a body that cannot be read, every member of such a name.
    #[serde(default)]
    pub redact: Vec<String>,
    /// How the provider asks whether the endpoint is there.
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
    /// The algorithm.
    pub scheme: SchemeFile,
    /// Must be true with `scheme: none`, and only then: anybody can then send events.
    #[serde(default)]
    pub insecure_no_verification: bool,
    /// The header that carries the signature.
    pub header: Option<String>,
    /// How signatures stand in the header.
    #[serde(default)]
    pub form: FormFile,
    /// With `form: versions` or `form: fields`: the name of the signatures that count, such as `v1`.
    pub version: Option<String>,
    /// With `form: single`: what stands before the signature, such as `sha256=`.
    pub prefix: Option<String>,
    /// How a signature is written.
    #[serde(default)]
    pub encoding: EncodingFile,
    /// The signed text, of `{id}`, `{timestamp}` and `{body}`; `{body}` unless stated.
    pub signed: Option<String>,
    /// The header that carries the signed `{id}`.
    pub id_header: Option<String>,
    /// Where the signed `{timestamp}` stands.
    pub timestamp: Option<TimestampFile>,
    /// How the signing secret is written.
    #[serde(default)]
    pub secret_encoding: SecretEncodingFile,
    /// What may stand before a written secret and is not part of it, such as `whsec_`.
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
    /// No signature at all.
    #[serde(rename = "none")]
    None,
}

/// How signatures stand in their header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FormFile {
    /// One signature.
    #[default]
    Single,
    /// A space-separated list of `version,signature`, as in Standard Webhooks.
    Versions,
    /// A comma-separated list of `name=value`, as in `t=1700000000,v1=…`.
    Fields,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EncodingFile {
    /// Hexadecimal, in either case.
    #[default]
    Hex,
    /// Base64, standard alphabet, padded.
    Base64,
}

/// How a signing secret is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecretEncodingFile {
    /// The text's bytes are the key.
    #[default]
    Utf8,
    /// Base64, standard alphabet, padded, canonical.
    Base64,
    /// Hexadecimal.
    Hex,
}

/// Where the signed timestamp stands, in Unix seconds.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimestampFile {
    /// In a header of its own …
    pub header: Option<String>,
    /// … or, with `form: fields`, in the signature header under this name.
    pub field: Option<String>,
    /// How far the sender's clock and ours may be apart, either way.
    #[serde(default = "TimestampFile::default_tolerance")]
    pub tolerance_seconds: u64,
}

impl TimestampFile {
    fn default_tolerance() -> u64 {
        300
    }
}

/// The transport encodings of bodies that are understood.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BodyFile {
    /// `identity` is always understood; gzip is recognised by its first bytes.
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
    /// The body as it is.
    Identity,
    /// Compressed; the signature is over the inflated bytes.
    Gzip,
}

/// Where an event's attributes stand. Of several pointers to the type or the id the first that leads to
/// anything but null and the empty text counts; of those to time and key, the first that leads to a usable
/// value.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventFile {
    /// The event type.
    #[serde(rename = "type")]
    pub event_type: EventTypeFile,
    /// An id inside the signed body. Without one, and without a signed id header, the digest of
    /// the body is the id.
    #[serde(default)]
    pub id: Vec<String>,
    /// The provider's own id of a delivery, in a header.
    pub delivery_id: Option<DeliveryIdFile>,
    /// The event's time: RFC 3339 text, or an integer since the Unix epoch.
    #[serde(default)]
    pub time: Vec<String>,
    /// What an integer time counts.
    #[serde(default)]
    pub time_unit: TimeUnitFile,
    /// The entity that an event belongs to, tried after the keys of its type and family.
    #[serde(default)]
    pub key: Vec<String>,
    /// An object in the body that is the event's data, such as `/detail`: what stands around it is an
    /// envelope, in which all other pointers are read, and is not passed on. Without it all of the body
    /// is.
    pub data: Option<String>,
}

/// The id that the provider gives a delivery, the same at each of its attempts. It is not signed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliveryIdFile {
    /// The header; `extensions` must name it, too, so that the id stays with the event.
    pub header: String,
    /// Whether deliveries of one body under two ids are two events, where neither a signed id nor one
    /// in the body tells them apart. Whoever captured a delivery can then repeat it under ids of their own.
    #[serde(default = "DeliveryIdFile::default_identifies")]
    pub identifies: bool,
}

impl DeliveryIdFile {
    fn default_identifies() -> bool {
        true
    }
}

/// Where the event type stands: in the body, or in a header with an optional detail in the body.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventTypeFile {
    /// Places in the body.
    #[serde(default)]
    pub pointers: Vec<String>,
    /// A header, instead of the body. It is not signed: where no delivery id tells events apart, only
    /// the types of `families` and of a source's `custom_types` are a part of the event's id; without
    /// `families` every type is.
    pub header: Option<String>,
    /// With `header`: text in the body that is appended after a dot, where present.
    pub join: Option<String>,
}

/// What an integer time counts.
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

/// How a provider asks whether the endpoint is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProbeFile {
    /// It does not.
    #[default]
    None,
    /// With a body that is empty or `{}` and need not be signed, or with a signed one that has
    /// neither id nor type.
    Empty,
}

/// An event family: what a topic is made of.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FamilyFile {
    /// The entity that the family's events belong to.
    #[serde(default)]
    pub key: Vec<String>,
    /// How the family's events are sent, unless a type says otherwise.
    #[serde(default = "FamilyFile::default_channels")]
    pub channels: Vec<ChannelFile>,
    /// The family's types by the names on the wire.
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
    /// The entity that the type's events belong to, tried before the family's.
    #[serde(default)]
    pub key: Vec<String>,
    /// How events of the type are sent.
    pub channels: Option<Vec<ChannelFile>>,
    /// The name that the provider's documents use instead of the one on the wire.
    pub alias: Option<String>,
    /// More values to redact in events of this type.
    #[serde(default)]
    pub redact: Vec<String>,
}

/// A way in which a provider sends events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChannelFile {
    /// To an endpoint or a queue.
    Webhook,
    /// To a client's connection only.
    Websocket,
}
