//! The id that a provider gives a delivery beside its body, unsigned: which header carries it, and
//! whether it tells events of one body apart.
//!
//! It is one of the extensions, so that it is kept with whatever the delivery becomes: a quarantined
//! one has it when it is admitted again.

use bytestring::ByteString;
use http::HeaderName;

use super::compile::Definition;
use crate::event::Stated;

/// The header with the provider's own id of a delivery.
#[derive(Clone, Debug)]
pub(super) struct DeliveryId {
    pub header: HeaderName,
    /// The extension that carries its value.
    pub extension: ByteString,
    /// Whether the id is a part of the identity of an event.
    pub identifies: bool,
}

impl Definition {
    /// The delivery's id among what travels along, if the provider states one.
    pub fn delivery_id<'a>(&self, extensions: &'a [(ByteString, ByteString)]) -> Option<&'a ByteString> {
        let rule = self.delivery_id.as_ref()?;
        extensions.iter().find(|(name, _)| *name == rule.extension).map(|(_, id)| id)
    }

    /// The same, where it is a part of the identity of an event.
    pub(crate) fn identifying_id<'a>(&self, stated: &'a Stated) -> Option<&'a ByteString> {
        self.delivery_id.as_ref().filter(|rule| rule.identifies)?;
        self.delivery_id(&stated.extensions)
    }

    /// Whether events of one body are told apart by the id of their delivery.
    pub fn identifies_deliveries(&self) -> bool {
        self.delivery_id.as_ref().is_some_and(|rule| rule.identifies)
    }

    /// The header with the delivery's id, and the extension that it travels as.
    pub fn delivery_header(&self) -> Option<(&str, &str)> {
        self.delivery_id.as_ref().map(|rule| (rule.header.as_str(), &*rule.extension))
    }
}
