//! The source blocks of the configuration file, but for those of AWS.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::aws::{SnsSourceFile, SqsFile};
use crate::config::yaml::scalars::Size;
use crate::reference::Reference;

/// A source of deliveries.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// A built-in provider or one of `providers`.
    #[schemars(required)]
    pub provider: Option<String>,
    /// The provider's application. Sources with the same provider and app share event ids and
    /// duplicate window.
    #[serde(default = "default_app")]
    pub app: String,
    /// The valid signing secrets; list the old and the new one while a secret is replaced. A file is
    /// read again while the bridge runs, and its former secret is accepted for 10 more minutes, or
    /// until its `not_after`.
    #[serde(default)]
    pub secrets: Vec<SecretEntryFile>,
    /// Largest body of this source as sent, if its provider sends larger ones than `limits` allows. The
    /// limit after decompression is then at least as large.
    pub body_bytes_max: Option<Size>,
    /// Receive deliveries from an SQS queue instead of over HTTP.
    pub sqs: Option<SqsFile>,
    /// Receive deliveries from SNS topics instead of from the provider.
    pub sns: Option<SnsSourceFile>,
    /// Event types that this source sends beyond its provider's catalogue, so that `select` can name
    /// them. If the provider states types in a header, they also make one body under two types two
    /// events.
    #[serde(default)]
    pub custom_types: Vec<String>,
}

fn default_app() -> String {
    "default".into()
}

/// A signing secret, with or without a period of validity.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum SecretEntryFile {
    /// Valid as long as it is listed.
    Always(Reference),
    /// Valid within a period.
    Dated(DatedSecretFile),
}

/// A signing secret and its period of validity.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatedSecretFile {
    /// Reference to the secret.
    #[schemars(required)]
    pub secret: Option<Reference>,
    /// First moment at which the secret is valid, in RFC 3339.
    pub not_before: Option<String>,
    /// Last moment at which the secret is valid, in RFC 3339.
    pub not_after: Option<String>,
}
