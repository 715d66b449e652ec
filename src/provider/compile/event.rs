//! Compiles the event part of a definition: where type, delivery id and data are stated.

use bytestring::ByteString;
use http::HeaderName;

use super::Compiler;
use crate::provider::definition::DeliveryId;
use crate::provider::definition_file::EventFile;
use crate::provider::pointer::Slot;

impl Compiler {
    pub(super) fn delivery_id(
        &mut self,
        file: &EventFile,
        extensions: &[(ByteString, HeaderName)],
    ) -> Option<DeliveryId> {
        let file = file.delivery_id.as_ref()?;
        let path = &["event", "delivery_id", "header"];
        let header = self.header(Some(&file.header), path)?;
        let Some((extension, _)) = extensions.iter().find(|(_, carried)| *carried == header) else {
            let message = format!("`{header}` is not in `extensions`, expected it there as well");
            self.problem(path, message);
            return None;
        };
        Some(DeliveryId { extension: extension.clone(), header, identifies: file.identifies })
    }

    pub(super) fn event_type(&mut self, file: &EventFile) -> (Option<HeaderName>, Vec<Slot>) {
        let file = &file.event_type;
        let header = self.header(file.header.as_deref(), &["event", "type", "header"]);
        if file.pointers.is_empty() == file.header.is_none() {
            self.problem(&["event", "type"], "expected either `pointers` or `header`");
        }
        if file.join.is_some() && file.header.is_none() {
            self.problem(&["event", "type", "join"], "has no effect here, expected only with `header`");
        }
        let mut slots = self.slots(&file.pointers, &["event", "type", "pointers"]);
        slots.extend(self.slots(file.join.as_slice(), &["event", "type", "join"]));
        (header, slots)
    }

    /// The slot of the data, which must be a member of objects: of an array, the other elements would
    /// be lost.
    pub(super) fn data(&mut self, pointer: Option<&str>) -> Option<Slot> {
        let path = &["event", "data"];
        let slot = self.slots(pointer.map(str::to_owned).as_slice(), path).pop()?;
        if pointer?.split('/').any(|step| !step.is_empty() && step.bytes().all(|c| c.is_ascii_digit())) {
            let message = "is one element of an array, so that the other elements would be lost; expected \
                           members of objects only, or no `data`, to publish the whole body";
            self.problem(path, message);
        }
        Some(slot)
    }
}
