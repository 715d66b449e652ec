//! The topics of SNS sinks, for `fanbridge topics`.

use super::States;
use crate::aws::Aws;
use crate::aws::AwsOptions;
use crate::aws::arn::TopicArn;
use crate::cli::{Exit, Failure};
use crate::sink::sns::SnsSinkOptions;
use crate::sink::sns::{SnsAdmin, SnsAdminError, TopicProperties};

/// The state of each of these topics. With `new`, missing topics are created with these properties.
pub async fn states(
    config: &SnsSinkOptions,
    aws: &AwsOptions,
    names: &[String],
    new: Option<&TopicProperties>,
) -> Result<States, Failure> {
    let admin = SnsAdmin::new(config, &Aws::new(aws.clone())).await?;
    let mut states = States::new();
    for name in names {
        let state = match TopicArn::parse(name) {
            Ok(topic) if admin.exists(&topic).await? => Ok(Some(None)),
            Ok(topic) => match new {
                Some(properties) => {
                    admin.create(&topic, properties).await.map(|()| None).map_err(|error| error.to_string())
                }
                None => Ok(None),
            },
            Err(problem) => Err(problem),
        };
        states.insert(name.clone(), state);
    }
    Ok(states)
}

/// The kind of the topic with this ARN: `fifo` or `standard`.
pub fn kind(name: &str) -> &'static str {
    if name.ends_with(".fifo") { "fifo" } else { "standard" }
}

/// Parses `NAME=VALUE`.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("expected `NAME=VALUE`".into()),
    }
}

/// Parses an attribute. `FifoTopic` is refused, because the topic's name decides it.
pub fn attribute(text: &str) -> Result<(String, String), String> {
    match pair(text)? {
        (name, _) if name == "FifoTopic" => {
            Err("FifoTopic cannot be set: a topic is FIFO if its name ends with `.fifo`".into())
        }
        attribute => Ok(attribute),
    }
}

impl From<SnsAdminError> for Failure {
    fn from(error: SnsAdminError) -> Self {
        Self::new(Exit::Temporary, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_has_a_name_that_the_topics_name_does_not_decide() {
        assert_eq!(attribute("A=b=c"), Ok(("A".into(), "b=c".into())));
        for wrong in ["A", "=b", "FifoTopic=true"] {
            assert!(attribute(wrong).is_err(), "{wrong}");
        }
        assert_eq!(pair("team="), Ok(("team".into(), String::new())));
    }
}
