//! The provider's unsigned id of a delivery: its header, and whether it tells events with the same
//! body apart.
//!
//! It is one of the extensions, so that it is kept with the event or dead letter, and a quarantined
//! delivery has it when it is admitted again.

use bytestring::ByteString;
use http::HeaderName;

use super::compile::Definition;
use crate::event::HeaderClaims;

/// The header with the provider's own id of a delivery.
#[derive(Clone, Debug)]
pub(super) struct DeliveryId {
    pub header: HeaderName,
    /// The extension with the id.
    pub extension: ByteString,
    /// Whether the id is part of an event's identity.
    pub identifies: bool,
}

impl Definition {
    /// The delivery's id among these extensions, if the provider states one.
    pub fn delivery_id<'a>(&self, extensions: &'a [(ByteString, ByteString)]) -> Option<&'a ByteString> {
        let rule = self.delivery_id.as_ref()?;
        extensions.iter().find(|(name, _)| *name == rule.extension).map(|(_, id)| id)
    }

    /// The delivery's id, if it is part of an event's identity.
    pub(crate) fn identifying_id<'a>(&self, stated: &'a HeaderClaims) -> Option<&'a ByteString> {
        self.delivery_id.as_ref().filter(|rule| rule.identifies)?;
        self.delivery_id(&stated.extensions)
    }

    /// Whether the delivery's id tells events with the same body apart.
    pub fn identifies_deliveries(&self) -> bool {
        self.delivery_id.as_ref().is_some_and(|rule| rule.identifies)
    }

    /// The header with the delivery's id, and the extension that the id becomes.
    pub fn delivery_header(&self) -> Option<(&str, &str)> {
        self.delivery_id.as_ref().map(|rule| (rule.header.as_str(), &*rule.extension))
    }
}
