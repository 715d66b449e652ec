//! The configuration of a source: its provider, its secrets and how its deliveries arrive.

use std::sync::Arc;

use bytestring::ByteString;

use super::sns::SnsSourceOptions;
use super::sqs::{self, SqsOptions};
use crate::ack::AckOptions;
use crate::provider::{Definition, SigningSecret, TOPIC_EXTENSIONS};
use crate::reference::Reference;

/// A source of deliveries.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    /// The source's name. The path is `/in/{name}`, and the CloudEvents extension `intake` has it.
    pub name: ByteString,
    /// The definition of the source's provider: signatures and body layout.
    pub definition: Arc<Definition>,
    /// The provider's application. Sources with the same provider and app share event ids and
    /// duplicate window.
    pub app: ByteString,
    /// The signing secrets. They can be empty only if the provider probes before it shows its secret,
    /// or if deliveries do not come from a webhook.
    pub secrets: Vec<SourceSecret>,
    /// How deliveries reach the source.
    pub channel: Channel,
    /// Largest body as sent in bytes, if it differs from the general limit.
    pub body_bytes_max: Option<usize>,
    /// Which sinks its acknowledgements wait for.
    pub ack: AckOptions,
}

impl SourceOptions {
    /// CloudEvents `source`: `/{provider}/{app}`.
    pub fn event_source(&self) -> ByteString {
        format!("/{}/{}", self.definition.provider, self.app).into()
    }

    /// The names of the extensions that events of this source can have, apart from those that are made of a
    /// message's own attributes.
    pub fn extension_names(&self) -> Vec<&str> {
        let definition = &self.definition;
        match &self.channel {
            Channel::Webhook => definition.extension_names().collect(),
            Channel::Sns(_) => TOPIC_EXTENSIONS.to_vec(),
            Channel::Sqs(_) => {
                let delivery = definition.delivery_header().map(|(_, name)| name);
                sqs::EXTENSIONS.into_iter().chain(TOPIC_EXTENSIONS).chain(delivery).collect()
            }
        }
    }

    /// Whether events of this source can have the extension of this name.
    pub fn can_state(&self, extension: &str) -> bool {
        let of_message = matches!(self.channel, Channel::Sqs(_)) && sqs::is_attribute_name(extension);
        of_message || self.extension_names().contains(&extension)
    }
}

/// A signing secret, and the reference to it: a file can have another secret later.
#[derive(Clone, Debug)]
pub struct SourceSecret {
    /// Reference to the secret.
    pub kept: Reference,
    /// The secret as it was read at the start.
    pub secret: SigningSecret,
}

/// How deliveries reach a source.
#[derive(Clone, Debug)]
pub enum Channel {
    /// The provider posts signed deliveries over HTTP.
    Webhook,
    /// Deliveries wait in an SQS queue, whose policy decides who can send to it.
    Sqs(SqsOptions),
    /// SNS posts deliveries over HTTP and signs them.
    Sns(SnsSourceOptions),
}
