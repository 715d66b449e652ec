//! Questions about topics, and making the missing ones: for commands, not for the running bridge,
//! which never creates a topic.

use std::time::Duration;

use aws_sdk_sns::Client;
use aws_sdk_sns::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sns::types::Tag;

use crate::aws::arn::TopicArn;
use crate::aws::{Aws, Patience, credentials_problem};
use crate::config::SnsSinkConfig;

/// Somebody waits for the answer, so a request that fails by chance is repeated a few times.
const PATIENCE: Patience = Patience { attempt: Duration::from_secs(5), attempts: 3 };
/// What makes a topic a FIFO topic; its name has to say so, too.
const FIFO_TOPIC: &str = "FifoTopic";

/// The topics of one region, as their owner sees them.
pub struct SnsAdmin {
    client: Client,
}

/// What a new topic gets beside its name.
#[derive(Clone, Debug, Default)]
pub struct TopicProperties {
    /// Attributes of `CreateTopic`: `KmsMasterKeyId`, `SignatureVersion`, …
    pub attributes: Vec<(String, String)>,
    /// Tags.
    pub tags: Vec<(String, String)>,
}

/// A service that does not do what was asked.
#[derive(Debug, thiserror::Error)]
#[error("sns: {0}")]
pub struct SnsAdminError(String);

impl SnsAdmin {
    /// A client with the sink's own settings.
    ///
    /// # Errors
    /// When there are no credentials to ask with.
    pub async fn new(config: &SnsSinkConfig, aws: &Aws) -> Result<Self, SnsAdminError> {
        let settings = aws.settings(Some(&config.region), PATIENCE).await;
        if let Some(problem) = credentials_problem(&settings).await {
            return Err(SnsAdminError(problem));
        }
        Ok(Self { client: Client::new(&settings) })
    }

    /// Whether this topic exists. Needs `sns:GetTopicAttributes`.
    ///
    /// # Errors
    /// When the service does not say: it cannot be reached, or these credentials may not ask.
    pub async fn exists(&self, topic: &TopicArn) -> Result<bool, SnsAdminError> {
        match self.client.get_topic_attributes().topic_arn(topic.as_str()).send().await {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(answer)) if answer.err().is_not_found_exception() => Ok(false),
            Err(error) => Err(SnsAdminError(format!("cannot ask for `{topic}`: {}", said(&error)))),
        }
    }

    /// Creates a topic. Needs `sns:CreateTopic`, and `sns:TagResource` for tags.
    ///
    /// # Errors
    /// Why it is not there now.
    pub async fn create(&self, topic: &TopicArn, properties: &TopicProperties) -> Result<(), SnsAdminError> {
        let mut request = self.client.create_topic().name(topic.name());
        if topic.is_fifo() {
            request = request.attributes(FIFO_TOPIC, "true");
        }
        for (name, value) in &properties.attributes {
            request = request.attributes(name, value);
        }
        for (key, value) in &properties.tags {
            let tag = Tag::builder().key(key).value(value).build();
            request = request.tags(tag.map_err(|error| SnsAdminError(error.to_string()))?);
        }
        let made = request.send().await.map_err(|error| SnsAdminError(said(&error)))?;
        // A topic is created where the credentials belong, whatever its configured ARN says.
        match made.topic_arn().unwrap_or_default() {
            arn if arn == topic.as_str() => Ok(()),
            other => Err(SnsAdminError(format!(
                "these credentials and this region made `{other}` of it: use credentials of the account in \
                 the sink's `topic`, or correct that account, and delete what was made"
            ))),
        }
    }
}

/// What an error says, without the request it is about.
fn said<E: ProvideErrorMetadata + std::error::Error + 'static>(error: &SdkError<E>) -> String {
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => DisplayErrorContext(error).to_string(),
    }
}
