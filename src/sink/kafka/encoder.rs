//! A record as librdkafka takes it: its headers, and the value that is copied.
//!
//! A header costs one allocation of librdkafka, into which its name and value are copied, and which the
//! client's own thread frees when the record is delivered; the client has no way to share one. So this module
//! spares what it can: it copies neither name nor value on the way, and sizes the list once. Which headers
//! there are is the sink's choice ([`CarriedAttributes`]).

use rdkafka::message::{Header, OwnedHeaders};

use crate::event::Record;
use crate::sink::attributes::{Attribute, CarriedAttributes};
use crate::sink::envelope::{self, AttributeName};

/// The header with the content type, in both modes.
const CONTENT_TYPE: &str = "content-type";
/// What the names of attributes begin with, by the Kafka protocol binding of CloudEvents.
const PREFIX: &str = "ce_";

/// In which form records are published.
#[derive(Clone, Debug)]
pub(super) struct RecordForm {
    /// Whether a record is one JSON document, instead of its body with attributes as headers.
    pub structured: bool,
    pub carried: CarriedAttributes,
}

/// Encodes the records of one batch, one after the other, in buffers that they share.
pub(super) struct Encoder<'f> {
    form: &'f RecordForm,
    /// The structured document of the current record.
    document: Vec<u8>,
    /// The name of the current header.
    name: String,
}

impl<'f> Encoder<'f> {
    pub fn new(form: &'f RecordForm) -> Self {
        Self { form, document: Vec::new(), name: String::new() }
    }

    /// The record's headers and value. In binary mode the value is the body itself.
    pub fn encode<'r>(&'r mut self, record: &'r Record) -> (OwnedHeaders, &'r [u8]) {
        if self.form.structured {
            self.document.clear();
            envelope::structured(record, &self.form.carried, &mut self.document);
            let headers = OwnedHeaders::new_with_capacity(1);
            (add(headers, CONTENT_TYPE, envelope::STRUCTURED_CONTENT_TYPE), &self.document)
        } else {
            (self.attributes(record), &record.event.body)
        }
    }

    fn attributes(&mut self, record: &Record) -> OwnedHeaders {
        let carried = &self.form.carried;
        let headers = OwnedHeaders::new_with_capacity(1 + carried.count_max(&record.event));
        // Adding a header consumes the list and returns it, so it is taken out and put back.
        let mut headers = Some(add(headers, CONTENT_TYPE, envelope::BODY_CONTENT_TYPE));
        envelope::attributes(record, carried, |name, value| {
            let name = match name {
                AttributeName::Own(attribute) => header_of(attribute),
                AttributeName::Extension(name) => {
                    self.name.clear();
                    self.name.push_str(PREFIX);
                    self.name.push_str(name);
                    &self.name
                }
            };
            headers = headers.take().map(|headers| add(headers, name, value.as_text()));
        });
        headers.expect("every addition puts the list back")
    }
}

fn add(headers: OwnedHeaders, name: &str, value: &str) -> OwnedHeaders {
    headers.insert(Header { key: name, value: Some(value) })
}

/// The name of the attribute's header.
const fn header_of(attribute: Attribute) -> &'static str {
    match attribute {
        Attribute::SpecVersion => "ce_specversion",
        Attribute::Id => "ce_id",
        Attribute::Source => "ce_source",
        Attribute::Type => "ce_type",
        Attribute::Subject => "ce_subject",
        Attribute::Time => "ce_time",
        Attribute::TimeInferred => "ce_timeinferred",
        Attribute::PartitionKey => "ce_partitionkey",
        Attribute::Family => "ce_family",
        Attribute::Provider => "ce_provider",
        Attribute::Intake => "ce_intake",
        Attribute::RecordedTime => "ce_recordedtime",
        Attribute::Sequence => "ce_sequence",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventTime, Position};
    use crate::testing::events::event;
    use rdkafka::message::Headers;

    fn record() -> Record {
        let mut event = event("default:abc");
        event.time = EventTime::Inferred(event.arrived);
        event.extensions = vec![("webhookid".into(), "w-1".into()), ("traceparent".into(), "00-1".into())];
        Record { position: Position(7), topic: "t".into(), event: event.into() }
    }

    fn headers_of(carried: CarriedAttributes) -> Vec<(String, String)> {
        let (form, record) = (RecordForm { structured: false, carried }, record());
        let mut encoder = Encoder::new(&form);
        let (headers, value) = encoder.encode(&record);
        assert_eq!(value.as_ptr(), record.event.body.as_ptr(), "the body is not copied");
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        headers.iter().map(|header| (header.key.to_owned(), text(header.value))).collect()
    }

    #[test]
    fn a_header_is_named_after_its_attribute() {
        for attribute in Attribute::ALL {
            assert_eq!(header_of(attribute).strip_prefix(PREFIX), Some(attribute.name()));
        }
    }

    #[test]
    fn every_attribute_is_a_header_behind_the_content_type() {
        let headers = headers_of(CarriedAttributes::default());
        let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names.join(" "),
            "content-type ce_specversion ce_id ce_source ce_type ce_subject ce_time ce_timeinferred \
             ce_partitionkey ce_family ce_provider ce_intake ce_recordedtime ce_sequence ce_webhookid \
             ce_traceparent"
        );
        let value = |name: &str| &headers.iter().find(|(other, _)| other == name).expect(name).1;
        assert_eq!(
            (value("content-type").as_str(), value("ce_timeinferred").as_str()),
            ("application/json", "true")
        );
        assert_eq!((value("ce_webhookid").as_str(), value("ce_traceparent").as_str()), ("w-1", "00-1"));
    }

    #[test]
    fn a_list_leaves_headers_out_and_never_the_content_type() {
        let headers = headers_of(CarriedAttributes::listed(["traceparent", "sequence"]));
        let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names.join(" "),
            "content-type ce_specversion ce_id ce_source ce_type ce_sequence ce_traceparent"
        );
    }

    #[test]
    fn no_record_has_more_headers_than_its_list_has_room_for() {
        let record = record();
        for carried in [
            CarriedAttributes::default(),
            CarriedAttributes::listed([]),
            CarriedAttributes::listed(["webhookid", "nobodys", "time"]),
        ] {
            let room = 1 + carried.count_max(&record.event);
            assert!(headers_of(carried).len() <= room);
        }
    }
}
