//! One `PublishBatch` request: the records as entries of the SDK, and the fates that the answer or
//! the failure means for them.

use std::error::Error;

use aws_config::SdkConfig;
use aws_sdk_sns::Client;
use aws_sdk_sns::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sns::operation::publish_batch::{PublishBatchError, PublishBatchOutput};
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};

use super::lanes::{OutgoingBatch, Waiting};
use super::message::{self, STRING, SnsMessage};
use super::outcome::{self, EntryFate};
use crate::aws::{causes, credentials_problem};
use crate::event::{Event, Placement};
use crate::sink::{CarriedAttributes, Cause, Reason};

/// Sends the requests of one sink.
pub(super) struct Publisher {
    pub client: Client,
    pub settings: SdkConfig,
    pub sink: String,
    pub carried: CarriedAttributes,
    pub message_bytes_max: usize,
}

impl Publisher {
    /// Publishes a batch once, without repetitions. Returns the fate of each of its records.
    pub async fn publish(&self, departure: &OutgoingBatch) -> Vec<EntryFate> {
        // An entry that the answer does not name has failed.
        let unnamed = EntryFate::Failed("the answer of SNS does not name this entry".into());
        let mut fates = vec![unnamed; departure.records.len()];
        let mut sent = Vec::with_capacity(departure.records.len());
        let mut entries = Vec::with_capacity(departure.records.len());
        for (index, Waiting { record, .. }) in departure.records.iter().enumerate() {
            match message::message(record, &self.carried, &self.sink, self.message_bytes_max) {
                Ok(message) => {
                    entries.push(entry(index, message, &record.event, &self.carried));
                    sent.push(index);
                }
                Err(reason) => fates[index] = EntryFate::Refused(reason),
            }
        }
        if sent.is_empty() {
            return fates;
        }
        let request = self.client.publish_batch().topic_arn(&*departure.topic);
        let answer = request.set_publish_batch_request_entries(Some(entries)).send();
        match Box::pin(answer).await {
            Ok(answer) => note_entries(&answer, &sent, &mut fates),
            Err(error) => {
                let fate = self.fate_of_request(&error, sent.len()).await;
                sent.into_iter().for_each(|index| fates[index] = fate.clone());
            }
        }
        fates
    }

    async fn fate_of_request(&self, error: &SdkError<PublishBatchError>, records: usize) -> EntryFate {
        let unclear = |cause| EntryFate::Unclear(Reason::new(cause, innermost(error)));
        match error {
            SdkError::ServiceError(answer) => {
                let (status, said) = (answer.raw().status().as_u16(), answer.err());
                outcome::of_request(status, said.code(), said.message().unwrap_or_default(), records)
            }
            SdkError::DispatchFailure(_) if was_never_connected(error) => unclear(Cause::UNREACHABLE),
            SdkError::TimeoutError(_) | SdkError::ResponseError(_) => unclear(Cause::TIMED_OUT),
            SdkError::DispatchFailure(failure) if failure.is_io() || failure.is_timeout() => {
                unclear(Cause::TIMED_OUT)
            }
            SdkError::DispatchFailure(failure) if has_cause::<hyper::Error>(failure.as_connector_error()) => {
                unclear(Cause::TIMED_OUT)
            }
            // Nothing has been sent: there are no credentials, or the endpoint does not exist.
            _ => {
                let problem = credentials_problem(&self.settings).await;
                let problem = problem
                    .unwrap_or_else(|| format!("no request could be sent: {}", DisplayErrorContext(error)));
                EntryFate::Trouble(Reason::new(Cause::CREDENTIALS, problem))
            }
        }
    }
}

/// Enters the fate of each entry that the answer names.
fn note_entries(answer: &PublishBatchOutput, sent: &[usize], fates: &mut [EntryFate]) {
    let known = |id: &str| id.parse().ok().filter(|index| sent.contains(index));
    for done in answer.successful() {
        if let Some(index) = done.id().and_then(known) {
            let placement = done.message_id().map(Placement::message).unwrap_or_default();
            fates[index] = EntryFate::Published(placement);
        }
    }
    for failed in answer.failed() {
        if let Some(index) = known(failed.id()) {
            let message = failed.message().unwrap_or_default();
            fates[index] = outcome::of_entry(failed.code(), message, failed.sender_fault());
        }
    }
}

fn entry(
    index: usize,
    message: SnsMessage,
    event: &Event,
    carried: &CarriedAttributes,
) -> PublishBatchRequestEntry {
    let mut entry = PublishBatchRequestEntry::builder().id(index.to_string()).message(message.text);
    for (name, value) in message::attributes(event, carried) {
        let value = MessageAttributeValue::builder().data_type(STRING).string_value(value).build();
        entry = entry.message_attributes(name, value.expect("the attribute has a type"));
    }
    if let Some(fifo) = message.fifo {
        entry = entry.message_group_id(fifo.group).message_deduplication_id(fifo.deduplication);
    }
    entry.build().expect("the entry has an id and a message")
}

/// Whether no connection was made, so that no record can have been published.
fn was_never_connected(error: &(dyn Error + 'static)) -> bool {
    let connecting = |error: &&(dyn Error + 'static)| {
        error.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(|error| error.is_connect())
    };
    causes(error).any(|error| connecting(&error))
}

fn has_cause<E: Error + 'static>(error: Option<&(impl Error + 'static)>) -> bool {
    error.is_some_and(|error| causes(error).any(|error| error.is::<E>()))
}

/// The message of the last cause in the chain, which is the specific one.
fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}
