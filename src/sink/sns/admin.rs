//! Asks SNS about topics and creates the missing ones. Used by commands only: the running bridge
//! never creates a topic.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sns::Client;
use aws_sdk_sns::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sns::types::Tag;

use super::SnsSinkOptions;
use crate::aws::arn::TopicArn;
use crate::aws::{Aws, CallTimeouts, credentials_problem};

/// Somebody waits at a terminal for the answer, so a failed request is repeated a few times.
const PATIENCE: CallTimeouts = CallTimeouts { attempt: Duration::from_secs(5), attempts: 3 };
/// The attribute that makes a new topic a FIFO topic; its name has to end with `.fifo` as well.
const FIFO_TOPIC: &str = "FifoTopic";

/// A client for the topics of one region, with the rights of their owner.
pub struct SnsAdmin {
    client: Client,
}

/// Attributes and tags of a new topic.
#[derive(Clone, Debug, Default)]
pub struct TopicProperties {
    /// Attributes of `CreateTopic`: `KmsMasterKeyId`, `SignatureVersion`, …
    pub attributes: Vec<(String, String)>,
    /// Tags, as key and value.
    pub tags: Vec<(String, String)>,
}

/// A request to SNS that failed, with the reason.
#[derive(Debug, thiserror::Error)]
#[error("sns: {0}")]
pub struct SnsAdminError(String);

impl SnsAdmin {
    /// A client with the settings of this sink.
    ///
    /// # Errors
    /// When no AWS credentials are found.
    pub async fn new(config: &SnsSinkOptions, aws: &Aws) -> Result<Self, SnsAdminError> {
        let settings = aws.settings(config.region.as_deref(), PATIENCE).await;
        if let Some(problem) = credentials_problem(&settings).await {
            return Err(SnsAdminError(problem));
        }
        Ok(Self { client: Client::new(&settings) })
    }

    /// Whether this topic exists. Needs `sns:GetTopicAttributes`.
    ///
    /// # Errors
    /// When the service cannot be reached, or does not let these credentials ask.
    pub async fn exists(&self, topic: &TopicArn) -> Result<bool, SnsAdminError> {
        Ok(self.attributes(topic).await?.is_some())
    }

    /// The attributes of this topic by their names, `None` if it does not exist. Needs
    /// `sns:GetTopicAttributes`.
    ///
    /// # Errors
    /// When the service cannot be reached, or does not let these credentials ask.
    pub async fn attributes(
        &self,
        topic: &TopicArn,
    ) -> Result<Option<HashMap<String, String>>, SnsAdminError> {
        match self.client.get_topic_attributes().topic_arn(topic.as_str()).send().await {
            Ok(answer) => Ok(Some(answer.attributes.unwrap_or_default())),
            Err(SdkError::ServiceError(answer)) if answer.err().is_not_found_exception() => Ok(None),
            Err(error) => Err(SnsAdminError(format!("cannot read the topic `{topic}`: {}", said(&error)))),
        }
    }

    /// Creates a topic. Needs `sns:CreateTopic`, and `sns:TagResource` for tags.
    ///
    /// # Errors
    /// When the topic was not created, or was created under another ARN.
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
        // SNS creates a topic in the account and region of the credentials, whatever ARN is
        // configured.
        match made.topic_arn().unwrap_or_default() {
            arn if arn == topic.as_str() => Ok(()),
            other => Err(SnsAdminError(format!(
                "SNS created `{other}` instead, in the account and region of these credentials: use \
                 credentials of the account in the sink's `topic`, or correct that ARN, and delete `{other}`"
            ))),
        }
    }
}

/// The error's code and message, without the request.
fn said<E: ProvideErrorMetadata + std::error::Error + 'static>(error: &SdkError<E>) -> String {
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => DisplayErrorContext(error).to_string(),
    }
}
