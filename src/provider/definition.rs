//! A compiled provider: what its deliveries look like, ready for use.
//!
//! The provider's unsigned id of a delivery is one of the extensions, so that it is kept with the event
//! or dead letter, and a quarantined delivery has it when it is admitted again.

use std::collections::BTreeSet;

use bytestring::ByteString;
use http::HeaderName;

use super::catalogue::Catalogue;
use super::definition_file::TimeUnitFile;
use super::pointer::{Pointers, Slot};
use super::scheme::Scheme;
use super::secret::SecretForm;
use crate::event::HeaderClaims;

/// A compiled provider: its signatures, the layout of its bodies, and its event types.
#[derive(Clone, Debug)]
pub struct Definition {
    /// Name of the provider.
    pub provider: ByteString,
    /// The event families and types.
    pub catalogue: Catalogue,
    pub(super) signature: Scheme,
    /// Whether bodies can be compressed with gzip.
    pub(super) gzip: bool,
    pub(super) probe: bool,
    pub(super) pointers: Pointers,
    /// The header that states the event type, if the body does not.
    pub(super) type_header: Option<HeaderName>,
    /// Where the body states the type or, with `type_header`, the detail of the type.
    pub(super) type_slots: Vec<Slot>,
    pub(super) id_slots: Vec<Slot>,
    pub(super) delivery_id: Option<DeliveryId>,
    pub(super) time_slots: Vec<Slot>,
    pub(super) time_unit: TimeUnitFile,
    /// Where the body has the event's data; `None` if the whole body is the data.
    pub(super) data_slot: Option<Slot>,
    pub(super) extensions: Vec<(ByteString, HeaderName)>,
    /// Expected types that are not in the catalogue.
    pub(super) custom_types: BTreeSet<String>,
}

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
    /// Whether deliveries have a signature that is verified.
    pub fn is_verified(&self) -> bool {
        self.signature.hmac.is_some()
    }

    /// Whether webhooks are accepted: the definition says how they are signed, or that they are not.
    pub fn takes_webhooks(&self) -> bool {
        self.signature.hmac.is_some() || self.signature.open
    }

    /// Adds expected types that are not in the catalogue.
    pub fn expect_types(&mut self, types: impl IntoIterator<Item = String>) {
        self.custom_types.extend(types);
    }

    /// The expected types that are not in the catalogue.
    pub fn custom_types(&self) -> &BTreeSet<String> {
        &self.custom_types
    }

    /// Whether a type is in the catalogue or expected beyond it. Without a catalogue every type is
    /// expected, because an event that is lost since another one has the same body would be worse.
    pub fn expects(&self, event_type: &str) -> bool {
        self.catalogue.types().len() == 0
            || self.catalogue.find(event_type).is_some()
            || self.custom_types.contains(event_type)
    }

    /// Whether the provider probes an endpoint before it shows the secret. Only then can a source
    /// begin without a secret.
    pub fn probes(&self) -> bool {
        self.probe
    }

    /// The header with the signature, if deliveries have one that is verified.
    pub fn signature_header(&self) -> Option<&str> {
        self.signature.hmac.as_ref().map(|scheme| scheme.header.as_str())
    }

    /// The header that states the event type, if the body does not.
    pub fn type_header(&self) -> Option<&str> {
        self.type_header.as_ref().map(HeaderName::as_str)
    }

    /// Pointers to the event type in the body or, if a header states the type, to its detail.
    pub fn type_pointers(&self) -> impl Iterator<Item = &str> {
        self.type_slots.iter().map(|slot| self.pointers.text(*slot))
    }

    /// Pointers to the event's id in the body.
    pub fn id_pointers(&self) -> impl Iterator<Item = &str> {
        self.id_slots.iter().map(|slot| self.pointers.text(*slot))
    }

    /// Pointers to the event's time in the body.
    pub fn time_pointers(&self) -> impl Iterator<Item = &str> {
        self.time_slots.iter().map(|slot| self.pointers.text(*slot))
    }

    /// The names of the extensions that headers of a webhook become.
    pub fn extension_names(&self) -> impl Iterator<Item = &str> {
        self.extensions.iter().map(|(name, _)| &**name)
    }

    /// The pointers whose values are redacted.
    pub fn redactions(&self) -> &[String] {
        self.pointers.redactions()
    }

    /// How the provider writes its secrets.
    pub fn secret_form(&self) -> &SecretForm {
        &self.signature.secret
    }

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
