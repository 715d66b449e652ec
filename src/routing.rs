//! The topic of an event: a sink's template, filled with provider, family and source (pure).

use std::fmt;

/// A topic name with the placeholders `{provider}`, `{family}` and `{source}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicTemplate {
    text: String,
    parts: Vec<Part>,
    dashed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Provider,
    Family,
    Source,
}

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The template has a placeholder that does not exist.
    #[error("unknown placeholder `{{{0}}}` in a topic: use {{provider}}, {{family}} or {{source}}")]
    UnknownPlace(String),
    /// The template has a brace without its partner.
    #[error("unbalanced brace at byte {0} of a topic: write a placeholder as {{family}}")]
    Unbalanced(usize),
    /// The template has no characters.
    #[error("a topic cannot be empty")]
    Empty,
}

impl TopicTemplate {
    /// The default template: one topic per family.
    pub const DEFAULT: &str = "{provider}.{family}";

    /// Parses a template.
    ///
    /// # Errors
    /// When it is empty, has an unknown placeholder or an unbalanced brace.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find(['{', '}']) {
            let offset = text.len() - rest.len() + start;
            let (before, tail) = rest.split_at(start);
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            let inner = tail.strip_prefix('{').ok_or(TemplateError::Unbalanced(offset))?;
            let (place, after) = inner.split_once('}').ok_or(TemplateError::Unbalanced(offset))?;
            parts.push(match place {
                "provider" => Part::Provider,
                "family" => Part::Family,
                "source" => Part::Source,
                other => return Err(TemplateError::UnknownPlace(other.into())),
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Self { text: text.into(), parts, dashed: false })
    }

    /// The same template with `-` for each dot of a filled-in value: SNS topic names have no dots.
    #[must_use]
    pub fn dashed(self) -> Self {
        Self { dashed: true, ..self }
    }

    /// The topic of an event; `source` is the name of the source that took the event in.
    pub fn render(&self, provider: &str, family: &str, source: &str) -> String {
        self.parts.iter().fold(String::new(), |mut topic, part| {
            let filled_in = match part {
                Part::Text(text) => {
                    topic.push_str(text);
                    return topic;
                }
                Part::Provider => provider,
                Part::Family => family,
                Part::Source => source,
            };
            match self.dashed {
                true => topic.extend(filled_in.chars().map(|c| if c == '.' { '-' } else { c })),
                false => topic.push_str(filled_in),
            }
            topic
        })
    }
}

impl fmt::Display for TopicTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a name is not usable as a Kafka topic, `None` if it is.
///
/// Brokers accept `[a-zA-Z0-9._-]{1,249}` except `.` and `..`. Names that begin with `__` are
/// reserved for the cluster's own topics.
pub fn kafka_topic_problem(topic: &str) -> Option<String> {
    let stray = topic.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')));
    if topic.is_empty() || topic.len() > 249 {
        Some(format!("a Kafka topic has 1 to 249 characters, this name has {}", topic.len()))
    } else if let Some(stray) = stray {
        Some(format!("{stray:?} is not allowed in a Kafka topic: use a-z, A-Z, 0-9, `.`, `_` and `-`"))
    } else if topic == "." || topic == ".." {
        Some("a Kafka topic cannot be named `.` or `..`".into())
    } else if topic.starts_with("__") {
        Some("topics that begin with `__` belong to the Kafka cluster itself".into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_template_makes_a_family_a_topic() {
        let template = TopicTemplate::parse(TopicTemplate::DEFAULT).expect("the default parses");
        assert_eq!(template.render("stream", "video.recording", "any"), "stream.video.recording");
    }

    #[test]
    fn a_dashed_template_keeps_its_own_dots_and_none_of_the_familys() {
        let template = TopicTemplate::parse("arn:aws:sns:eu-west-1:111111111111:{provider}-{family}.fifo");
        let template = template.expect("the template parses").dashed();
        let topic = template.render("stream", "video.recording", "any");
        assert_eq!(topic, "arn:aws:sns:eu-west-1:111111111111:stream-video-recording.fifo");
    }

    #[test]
    fn a_template_that_cannot_be_used_says_why() {
        assert_eq!(TopicTemplate::parse(""), Err(TemplateError::Empty));
        assert_eq!(TopicTemplate::parse("a{type}"), Err(TemplateError::UnknownPlace("type".into())));
        assert_eq!(TopicTemplate::parse("a}b"), Err(TemplateError::Unbalanced(1)));
        assert_eq!(TopicTemplate::parse("ab{c"), Err(TemplateError::Unbalanced(2)));
        assert_eq!(TopicTemplate::parse("{{family}}"), Err(TemplateError::UnknownPlace("{family".into())));
    }

    #[test]
    fn names_a_broker_would_refuse_or_reserve_are_problems() {
        assert_eq!(kafka_topic_problem("stream.video-recording_1"), None);
        for bad in ["", ".", "..", "__consumer_offsets", "a/b", "a b", "é", &"a".repeat(250)] {
            assert!(kafka_topic_problem(bad).is_some(), "{bad:?} should be refused");
        }
    }
}
