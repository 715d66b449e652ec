//! The bytes of the questions and their answers (pure). The versions are the last ones before the protocol's
//! compact forms; each is one that brokers of 4.0 still take.

use std::collections::BTreeMap;

const METADATA: (i16, i16) = (3, 1);
const SASL_HANDSHAKE: (i16, i16) = (17, 1);
const CREATE_TOPICS: (i16, i16) = (19, 4);
const DESCRIBE_CONFIGS: (i16, i16) = (32, 1);
const SASL_AUTHENTICATE: (i16, i16) = (36, 1);

const CLIENT: &str = "fanbridge";
const MECHANISM: &str = "OAUTHBEARER";
/// The kind of a resource that is a topic.
const TOPIC: i8 = 2;

/// What is asked of a broker.
pub(super) enum BrokerQuestion<'q> {
    Handshake,
    Authenticate(&'q str),
    Controller,
    Create(&'q NewTopics<'q>),
    /// The value of this property of each of these topics.
    Property(&'q [&'q str], &'q str),
}

/// Topics that are to be created alike.
pub(in crate::sink::kafka) struct NewTopics<'t> {
    pub names: &'t [&'t str],
    /// -1 stands for the broker's default.
    pub partitions: i32,
    /// -1 stands for the broker's default.
    pub replication: i16,
    pub properties: &'t [(String, String)],
    pub timeout_ms: i32,
}

/// What became of a topic.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::sink::kafka) struct TopicResult {
    pub name: String,
    /// The protocol's number of the error, 0 for none.
    pub code: i16,
    pub message: Option<String>,
}

/// An answer of a broker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BrokerAnswer {
    /// Whether it was done, or what the broker says instead.
    Done(Result<(), String>),
    /// Host and port of the controller, if there is one.
    Controller(Option<(String, u16)>),
    Created(Vec<TopicResult>),
    /// The values by topic.
    Properties(BTreeMap<String, String>),
}

/// The problem of an answer that is none.
pub(super) fn garbled() -> String {
    "the answer is none of a Kafka broker that this release knows".into()
}

impl BrokerQuestion<'_> {
    /// The request with its length in front.
    pub fn encoded(&self, correlation: i32) -> Vec<u8> {
        let mut out = Out(vec![0; 4]);
        let (key, version) = self.kind();
        out.i16(key).i16(version).i32(correlation).text(CLIENT);
        match self {
            Self::Handshake => {
                out.text(MECHANISM);
            }
            Self::Authenticate(token) => {
                out.bytes(format!("n,,\x01auth=Bearer {token}\x01\x01").as_bytes());
            }
            // No topic: an empty list.
            Self::Controller => {
                out.i32(0);
            }
            Self::Create(topics) => {
                out.length(topics.names);
                for name in topics.names {
                    out.text(name).i32(topics.partitions).i16(topics.replication).i32(0);
                    out.length(topics.properties);
                    for (name, value) in topics.properties {
                        out.text(name).text(value);
                    }
                }
                out.i32(topics.timeout_ms).i8(0);
            }
            Self::Property(topics, name) => {
                out.length(topics);
                for topic in *topics {
                    out.i8(TOPIC).text(topic).i32(1).text(name);
                }
                out.i8(0);
            }
        }
        let length = i32::try_from(out.0.len() - 4).unwrap_or(i32::MAX);
        out.0[..4].copy_from_slice(&length.to_be_bytes());
        out.0
    }

    /// The answer, if it is one to this question.
    pub fn decoded(&self, bytes: &[u8], correlation: i32) -> Option<BrokerAnswer> {
        let mut from = In(bytes);
        (from.i32()? == correlation).then_some(())?;
        Some(match self {
            Self::Handshake => BrokerAnswer::Done(match from.i16()? {
                0 => Ok(()),
                code => Err(format!("error {code}")),
            }),
            Self::Authenticate(_) => {
                let (code, said) = (from.i16()?, from.text_or_none()?);
                let why = said.filter(|said| !said.is_empty()).unwrap_or_else(|| format!("error {code}"));
                BrokerAnswer::Done(if code == 0 { Ok(()) } else { Err(why) })
            }
            Self::Controller => controller(&mut from)?,
            Self::Create(_) => {
                from.i32()?;
                let result = |from: &mut In<'_>| {
                    Some(TopicResult { name: from.text()?, code: from.i16()?, message: from.text_or_none()? })
                };
                BrokerAnswer::Created(from.list(result)?)
            }
            Self::Property(_, name) => {
                from.i32()?;
                let found = from.list(|from| property(from, name))?;
                BrokerAnswer::Properties(found.into_iter().flatten().collect())
            }
        })
    }

    fn kind(&self) -> (i16, i16) {
        match self {
            Self::Handshake => SASL_HANDSHAKE,
            Self::Authenticate(_) => SASL_AUTHENTICATE,
            Self::Controller => METADATA,
            Self::Create(_) => CREATE_TOPICS,
            Self::Property(..) => DESCRIBE_CONFIGS,
        }
    }
}

fn controller(from: &mut In<'_>) -> Option<BrokerAnswer> {
    let broker = |from: &mut In<'_>| {
        let broker = (from.i32()?, from.text()?, u16::try_from(from.i32()?).ok()?);
        from.text_or_none()?;
        Some(broker)
    };
    let brokers = from.list(broker)?;
    let controller = from.i32()?;
    let found = brokers.into_iter().find(|(id, ..)| *id == controller);
    Some(BrokerAnswer::Controller(found.map(|(_, host, port)| (host, port))))
}

/// The value of a property of one topic; `None` within, if it may not be read.
fn property(from: &mut In<'_>, name: &str) -> Option<Option<(String, String)>> {
    from.i16()?;
    from.text_or_none()?;
    from.i8()?;
    let topic = from.text()?;
    let entry = |from: &mut In<'_>| {
        let entry = (from.text()?, from.text_or_none()?);
        from.take(3)?;
        from.list(|from| {
            from.text()?;
            from.text_or_none()?;
            from.i8()
        })?;
        Some(entry)
    };
    let value = from.list(entry)?.into_iter().find(|(found, _)| found == name).and_then(|(_, value)| value);
    Some(value.map(|value| (topic, value)))
}

struct Out(Vec<u8>);

impl Out {
    fn i8(&mut self, number: i8) -> &mut Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn i16(&mut self, number: i16) -> &mut Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn i32(&mut self, number: i32) -> &mut Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn length<T>(&mut self, list: &[T]) -> &mut Self {
        self.i32(i32::try_from(list.len()).unwrap_or(i32::MAX))
    }

    /// A text has at most 32 kB; no name and no property of a topic is longer.
    fn text(&mut self, text: &str) -> &mut Self {
        let text = &text[..text.floor_char_boundary(i16::MAX as usize)];
        self.i16(i16::try_from(text.len()).unwrap_or(i16::MAX));
        self.0.extend(text.as_bytes());
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.length(bytes);
        self.0.extend(bytes);
        self
    }
}

struct In<'b>(&'b [u8]);

impl<'b> In<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn i8(&mut self) -> Option<i8> {
        self.take(1).and_then(|bytes| Some(i8::from_be_bytes(bytes.try_into().ok()?)))
    }

    fn i16(&mut self) -> Option<i16> {
        self.take(2).and_then(|bytes| Some(i16::from_be_bytes(bytes.try_into().ok()?)))
    }

    fn i32(&mut self) -> Option<i32> {
        self.take(4).and_then(|bytes| Some(i32::from_be_bytes(bytes.try_into().ok()?)))
    }

    fn text(&mut self) -> Option<String> {
        self.text_or_none()?
    }

    /// `None` within for the text that is none.
    fn text_or_none(&mut self) -> Option<Option<String>> {
        let length = self.i16()?;
        if length < 0 {
            return Some(None);
        }
        let bytes = self.take(usize::try_from(length).ok()?)?;
        Some(Some(String::from_utf8_lossy(bytes).into_owned()))
    }

    /// A list; each element has a byte at least, so a length that is not there ends with the bytes.
    fn list<T>(&mut self, mut element: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.i32()?.max(0);
        (0..length).map(|_| element(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_question_has_its_length_its_kind_and_its_number_in_front() {
        let bytes = BrokerQuestion::Handshake.encoded(7);
        let head = [0, 0, 0, 32, 0, 17, 0, 1, 0, 0, 0, 7, 0, 9];
        assert_eq!(bytes[..head.len()], head);
        assert_eq!(bytes.len(), 36);
        assert!(bytes.ends_with(b"\0\x0bOAUTHBEARER"));
        let token = BrokerQuestion::Authenticate("abc").encoded(8);
        assert!(token.ends_with(b"n,,\x01auth=Bearer abc\x01\x01"));
    }

    #[test]
    fn an_answer_that_is_cut_off_or_of_another_question_is_none() {
        let mut out = Out(Vec::new());
        out.i32(3).i32(0).i32(1).text("lake").i16(36).text("exists");
        let topics =
            NewTopics { names: &[], partitions: -1, replication: -1, properties: &[], timeout_ms: 1 };
        let question = BrokerQuestion::Create(&topics);
        let result = TopicResult { name: "lake".into(), code: 36, message: Some("exists".into()) };
        assert_eq!(question.decoded(&out.0, 3), Some(BrokerAnswer::Created(vec![result])));
        assert_eq!(question.decoded(&out.0, 4), None);
        for length in 0..out.0.len() {
            assert_eq!(question.decoded(&out.0[..length], 3), None, "{length} bytes");
        }
        let mut endless = Out(Vec::new());
        endless.i32(3).i32(0).i32(i32::MAX);
        assert_eq!(question.decoded(&endless.0, 3), None);
    }

    #[test]
    fn a_controller_is_found_among_the_brokers_and_a_property_among_the_topics() {
        let mut out = Out(Vec::new());
        out.i32(1).i32(2);
        out.i32(10).text("a").i32(9092).i16(-1).i32(11).text("b").i32(9093).text("rack");
        out.i32(11).i32(0);
        let found = BrokerQuestion::Controller.decoded(&out.0, 1);
        assert_eq!(found, Some(BrokerAnswer::Controller(Some(("b".into(), 9093)))));

        let mut out = Out(Vec::new());
        out.i32(1).i32(0).i32(2);
        out.i16(29).text("forbidden").i8(TOPIC).text("hidden").i32(0);
        out.i16(0).i16(-1).i8(TOPIC).text("lake").i32(1).text("min.insync.replicas").text("2");
        out.i8(0).i8(5).i8(0).i32(1).text("min.insync.replicas").text("1").i8(5);
        let found = BrokerQuestion::Property(&["hidden", "lake"], "min.insync.replicas").decoded(&out.0, 1);
        let expected = BTreeMap::from([("lake".to_owned(), "2".to_owned())]);
        assert_eq!(found, Some(BrokerAnswer::Properties(expected)));
    }
}
