//! Asks SQS about a queue. Used by commands only: the bridge itself needs no permission for it.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_sqs::types::QueueAttributeName;

use super::SqsOptions;
use crate::aws::refusal::{self, AwsRefusal};
use crate::aws::{Aws, CallTimeouts, credentials_problem};

/// Somebody waits at a terminal for the answer.
const PATIENCE: CallTimeouts = CallTimeouts { attempt: Duration::from_secs(4), attempts: 1 };

/// Why the attributes of a queue cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum QueueAdminError {
    /// There is no such queue in this account and region.
    #[error("there is no such queue")]
    Missing,
    /// There are no credentials, or they are refused.
    #[error("{0}")]
    Credentials(String),
    /// The credentials are not allowed to ask.
    #[error("these credentials are not allowed to read its attributes")]
    Denied,
    /// Something else that the service says, or that it cannot be reached.
    #[error("{0}")]
    Failed(String),
}

/// All attributes of a queue by their names. Needs `sqs:GetQueueAttributes`.
///
/// # Errors
/// When the service cannot be reached or does not tell them.
pub async fn queue_attributes(
    config: &SqsOptions,
    aws: &Aws,
) -> Result<BTreeMap<String, String>, QueueAdminError> {
    let settings = aws.settings(config.region.as_deref(), PATIENCE).await;
    if let Some(problem) = credentials_problem(&settings).await {
        return Err(QueueAdminError::Credentials(problem));
    }
    let request = Client::new(&settings).get_queue_attributes().queue_url(&config.queue_url);
    let answer = Box::pin(request.attribute_names(QueueAttributeName::All).send()).await;
    let attributes = answer.map_err(|error| {
        let code = error.code().unwrap_or_default();
        match (refusal::told(refusal::bare(code), error.message().unwrap_or_default()), refusal::bare(code)) {
            (_, "QueueDoesNotExist" | "NonExistentQueue") => QueueAdminError::Missing,
            (Some(AwsRefusal::Denied), _) => QueueAdminError::Denied,
            (Some(AwsRefusal::Credentials | AwsRefusal::Expired | AwsRefusal::Clock), code) => {
                QueueAdminError::Credentials(format!("the credentials are refused: {code}"))
            }
            (_, "") => QueueAdminError::Failed(DisplayErrorContext(&error).to_string()),
            (_, code) => QueueAdminError::Failed(format!("the service says {code}")),
        }
    })?;
    let attributes = answer_attributes(attributes.attributes);
    Ok(attributes)
}

fn answer_attributes(
    attributes: Option<std::collections::HashMap<QueueAttributeName, String>>,
) -> BTreeMap<String, String> {
    let attributes = attributes.unwrap_or_default().into_iter();
    attributes.map(|(name, value)| (name.as_str().to_owned(), value)).collect()
}
