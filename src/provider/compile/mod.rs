//! Compiles a definition as written into one that is used: pointers become an automaton, headers
//! become names, templates become parts, types become a catalogue.
//!
//! Every problem that the form alone does not exclude is found here, and all problems are reported at
//! once, with their places in the file. A compiled definition cannot fail later.

mod event;
mod scheme;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytestring::ByteString;
use http::HeaderName;

use super::catalogue::{Catalogue, Family, TypeInfo, UNCLASSIFIED};
use super::definition::Definition;
use super::definition_file::{
    BodyEncodingFile, ChannelFile, DefinitionFile, FamilyFile, ProbeFile, TypeFile,
};
use super::normalise::{is_type, type_expected};
use super::pointer::{Pointers, Slot, covers, steps};
use super::scheme::Scheme;

/// Names of CloudEvents attributes that the bridge sets itself.
const RESERVED: [&str; 19] = [
    "data",
    "database64",
    "datacontenttype",
    "dataschema",
    "family",
    "id",
    "importreason",
    "intake",
    "partitionkey",
    "provider",
    "recordedtime",
    "redriven",
    "replayid",
    "sequence",
    "source",
    "specversion",
    "subject",
    "time",
    "timeinferred",
];

/// A part of a definition that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionProblem {
    /// The keys from the definition's root to the unusable part.
    pub path: Vec<String>,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl fmt::Display for DefinitionProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |step: &String| match step.contains(['.', '/', ' ']) || step.is_empty() {
            true => format!("{step:?}"),
            false => step.clone(),
        };
        let path: Vec<String> = self.path.iter().map(quoted).collect();
        write!(f, "{}: {}", path.join("."), self.message)
    }
}

impl std::error::Error for DefinitionProblem {}

impl Definition {
    /// Checks and compiles a definition.
    ///
    /// # Errors
    /// With every problem and its place.
    pub fn compile(name: &str, file: DefinitionFile) -> Result<Self, Vec<DefinitionProblem>> {
        let mut compiler = Compiler { pointers: Pointers::new(), problems: Vec::new() };
        let definition = compiler.definition(name, file);
        if compiler.problems.is_empty() {
            Ok(Self { pointers: compiler.pointers, ..definition })
        } else {
            Err(compiler.problems)
        }
    }
}

/// The pointers and problems found so far.
struct Compiler {
    pointers: Pointers,
    problems: Vec<DefinitionProblem>,
}

impl Compiler {
    fn definition(&mut self, name: &str, file: DefinitionFile) -> Definition {
        if !is_label(name) {
            self.problem(
                &[],
                format!("`{name}` is not a provider name, expected a-z, 0-9, `-`, `_` and `.`"),
            );
        }
        let signature =
            file.signature.as_ref().map_or_else(Scheme::unknown, |file| self.signature(name, file));
        let extensions = self.extensions(&file.extensions);
        let (type_header, type_slots) = self.event_type(&file.event);
        let id_slots = self.slots(&file.event.id, &["event", "id"]);
        let delivery_id = self.delivery_id(&file.event, &extensions);
        let time_slots = self.slots(&file.event.time, &["event", "time"]);
        let data_slot = self.data(file.event.data.as_deref());
        let everywhere = self.redactions(&file.redact, &["redact"]);
        let catalogue = self.catalogue(&file, everywhere);
        self.no_redacted_attribute(&file);
        Definition {
            provider: name.into(),
            catalogue,
            signature,
            gzip: file.body.encodings.contains(&BodyEncodingFile::Gzip),
            probe: file.probe == ProbeFile::Empty,
            pointers: Pointers::new(),
            type_header,
            type_slots,
            id_slots,
            delivery_id,
            time_slots,
            data_slot,
            time_unit: file.event.time_unit,
            extensions,
            custom_types: BTreeSet::new(),
        }
    }

    fn extensions(&mut self, file: &BTreeMap<String, String>) -> Vec<(ByteString, HeaderName)> {
        let mut extensions = Vec::new();
        for (name, header) in file {
            let path = &["extensions", name.as_str()];
            let plain = name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            if !plain || !(1..=20).contains(&name.len()) {
                self.problem(
                    path,
                    "not the name of an extension, expected 1 to 20 characters of a-z and 0-9",
                );
            } else if RESERVED.contains(&name.as_str()) || name == "type" {
                self.problem(path, "the bridge sets this attribute itself, expected another name");
            } else if let Some(header) = self.header(Some(header), path) {
                extensions.push((name.as_str().into(), header));
            }
        }
        extensions
    }

    fn catalogue(&mut self, file: &DefinitionFile, everywhere: u64) -> Catalogue {
        let common = self.slots(&file.event.key, &["event", "key"]);
        let mut types: Vec<TypeInfo> = Vec::new();
        let mut families = Vec::new();
        let mut of_all = everywhere;
        for (name, family) in &file.families {
            if !is_label(name) || name == UNCLASSIFIED {
                let message = format!(
                    "not a family name, expected a-z, 0-9, `-`, `_` and `.`, and not `{UNCLASSIFIED}`"
                );
                self.problem(&["families", name], message);
            }
            let mut key_slots = self.slots(&family.key, &["families", name, "key"]);
            append(&mut key_slots, &common);
            let mut of_family = Family { name: name.as_str().into(), key_slots, redactions: everywhere };
            let mut of_any = everywhere;
            for (type_name, file) in &family.types {
                if let Some(twin) = types.iter().find(|other| other.name == **type_name) {
                    let message =
                        format!("this type is in family `{}` already, expected one family", twin.family);
                    self.problem(&["families", name, "types", type_name], message);
                }
                let info = self.type_info(&of_family, family, type_name, file);
                of_any |= info.redactions;
                types.push(info);
            }
            // A type that is in no catalogue can have any field of the family, so all redactions
            // apply.
            of_family.redactions = of_any;
            of_all |= of_any;
            families.push(of_family);
        }
        let rest = UNCLASSIFIED.into();
        families.push(Family { name: rest, key_slots: common, redactions: of_all });
        Catalogue::new(types, families)
    }

    fn type_info(&mut self, of: &Family, family: &FamilyFile, name: &str, file: &TypeFile) -> TypeInfo {
        let path = ["families", &of.name, "types", name];
        let at = |last| [path[0], path[1], path[2], path[3], last];
        if !is_type(name) {
            let message = format!("not an event type, expected {}", type_expected());
            self.problem(&path, message);
        }
        let channels = file.channels.as_ref().unwrap_or(&family.channels);
        if channels.is_empty() {
            self.problem(&at("channels"), "the list is empty, expected `webhook`, `websocket` or both");
        }
        let mut key_slots = self.slots(&file.key, &at("key"));
        append(&mut key_slots, &of.key_slots);
        let redactions = of.redactions | self.redactions(&file.redact, &at("redact"));
        TypeInfo {
            name: name.into(),
            family: of.name.clone(),
            webhook: channels.contains(&ChannelFile::Webhook),
            websocket: channels.contains(&ChannelFile::Websocket),
            alias: file.alias.as_deref().map(Into::into),
            key: key_slots.iter().map(|slot| self.pointers.text(*slot).into()).collect(),
            key_slots,
            redactions,
        }
    }

    /// Reports attributes that are taken from redacted values: those would leave the bridge as
    /// attributes.
    fn no_redacted_attribute(&mut self, file: &DefinitionFile) {
        let redacted: Vec<Vec<String>> =
            self.pointers.redactions().iter().filter_map(|pointer| steps(pointer).ok()).collect();
        let data: Vec<String> = file.event.data.iter().cloned().collect();
        let attributes =
            [("id", &file.event.id), ("time", &file.event.time), ("key", &file.event.key), ("data", &data)];
        let mut places: Vec<(Vec<&str>, &String)> = attributes
            .into_iter()
            .flat_map(|(name, pointers)| pointers.iter().map(move |pointer| (vec!["event", name], pointer)))
            .collect();
        for (name, family) in &file.families {
            places.extend(family.key.iter().map(|pointer| (vec!["families", name, "key"], pointer)));
            for (type_name, info) in &family.types {
                let path = || vec!["families", name, "types", type_name, "key"];
                places.extend(info.key.iter().map(|pointer| (path(), pointer)));
            }
        }
        for (path, pointer) in places {
            let Ok(steps) = steps(pointer) else { continue };
            if redacted.iter().any(|redacted| covers(redacted, &steps)) {
                let message = format!("`{pointer}` is redacted, expected a value that can be published");
                self.problem(&path, message);
            }
        }
    }

    fn slots(&mut self, pointers: &[String], path: &[&str]) -> Vec<Slot> {
        let mut slots = Vec::new();
        for pointer in pointers {
            match self.pointers.slot(pointer) {
                Ok(slot) => append(&mut slots, &[slot]),
                Err(message) => self.problem(path, message),
            }
        }
        slots
    }

    fn redactions(&mut self, pointers: &[String], path: &[&str]) -> u64 {
        let mut redactions = 0;
        for pointer in pointers {
            match self.pointers.redaction(pointer) {
                Ok(number) => redactions |= 1 << number,
                Err(message) => self.problem(path, message),
            }
        }
        redactions
    }

    fn header(&mut self, name: Option<&str>, path: &[&str]) -> Option<HeaderName> {
        let name = name?;
        let header = HeaderName::from_bytes(name.as_bytes());
        match &header {
            Err(_) => self.problem(path, format!("`{name}` is not the name of a header")),
            Ok(header) if OF_THE_CONNECTION.contains(&header.as_str()) => {
                let message = "belongs to HTTP itself and states nothing about the event";
                self.problem(path, format!("`{name}` {message}, expected a header of the provider's"));
            }
            Ok(_) => {}
        }
        header.ok()
    }

    fn problem(&mut self, path: &[&str], message: impl Into<String>) {
        let path = path.iter().map(|step| (*step).to_owned()).collect();
        self.problems.push(DefinitionProblem { path, message: message.into() });
    }
}

/// Headers about the transport of a message, which any proxy can change, add or remove.
const OF_THE_CONNECTION: [&str; 12] = [
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Adds the slots that are not in the list yet.
fn append(slots: &mut Vec<Slot>, more: &[Slot]) {
    for slot in more {
        if !slots.contains(slot) {
            slots.push(*slot);
        }
    }
}

/// Whether a text can be the name of a provider or family, which becomes part of topics and paths.
fn is_label(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-_.".contains(&c);
    (1..=100).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('.')
}

#[cfg(test)]
mod tests;
