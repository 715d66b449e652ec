//! What is wrong when a call fails, in a word for the metrics and a sentence for people.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use super::queue::{Action, Queue};
use crate::aws::refusal::{self, AwsRefusal};
use crate::aws::{causes, credentials_problem};
use crate::health::CREDENTIALS;
use crate::telemetry::Shown;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueueError {
    /// A word from a fixed list.
    pub(super) reason: &'static str,
    /// What is wrong and what to do. Holds no secret and no body.
    pub(super) advice: String,
    /// Whether it may well be over at the next attempt, so that once is not worth a line.
    pub(super) passing: bool,
}

impl QueueError {
    /// Reads an error. Only where credentials may be the cause are they asked for, which can take
    /// a few seconds.
    pub(super) async fn of<E>(error: &SdkError<E, HttpResponse>, action: Action, queue: &Queue) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let name = action.name();
        match error {
            SdkError::TimeoutError(_) => Self::passing("timeout", format!("{name} is not answered in time")),
            SdkError::ServiceError(refused) => {
                let code = refused.err().code().unwrap_or_default();
                let message = refused.err().message().unwrap_or_default();
                let status = refused.raw().status().as_u16();
                Self::told(Said { code, message, status, action, queue: queue.url() })
            }
            SdkError::ResponseError(_) => {
                Self::passing("malformed_answer", format!("the answer to {name} makes no sense"))
            }
            _ if concerns_credentials(error) => {
                let problem = credentials_problem(queue.settings()).await;
                // They may have come between the call and the question.
                let problem = problem.unwrap_or_else(|| "there were no AWS credentials a moment ago".into());
                Self::lasting(CREDENTIALS, problem)
            }
            SdkError::DispatchFailure(_) => {
                Self::passing("connection", format!("{name} does not get through: {}", shown(error)))
            }
            _ => Self::lasting("request", format!("{name} cannot be sent: {}", shown(error))),
        }
    }

    fn told(said: Said<'_>) -> Self {
        let Said { code, message, status, action, queue } = said;
        let (name, permission) = (action.name(), action.permission());
        let code = refusal::bare(code);
        let shown = Shown(code);
        match refusal::told(code, message) {
            Some(AwsRefusal::Throttled) => {
                Self::passing("throttled", format!("{name} is throttled ({shown})"))
            }
            Some(AwsRefusal::Service) => {
                Self::passing("server_error", format!("{name} fails in the service ({status} {shown})"))
            }
            Some(AwsRefusal::Denied) => Self::lasting(
                "denied",
                format!(
                    "{name} is not allowed ({shown}): grant the bridge {permission} on {queue}, and \
                     kms:Decrypt on the key if the queue has one"
                ),
            ),
            Some(AwsRefusal::Credentials) => Self::lasting(
                CREDENTIALS,
                format!(
                    "the AWS credentials are refused ({shown}): check the key, its secret and the region"
                ),
            ),
            Some(AwsRefusal::Expired) => Self::lasting(
                CREDENTIALS,
                format!(
                    "the AWS credentials have expired ({shown}): renew the session they come from, and \
                     check the clock"
                ),
            ),
            Some(AwsRefusal::Clock) => Self::lasting(
                "clock",
                format!("this machine's clock differs from the service's ({shown}): set the clock"),
            ),
            None => Self::told_of_queue(said),
        }
    }

    /// The codes of this service alone, and answers without a code.
    fn told_of_queue(said: Said<'_>) -> Self {
        let Said { code, status, action, queue, .. } = said;
        let (name, permission) = (action.name(), action.permission());
        let code = refusal::bare(code);
        let shown = Shown(code);
        match code {
            "NonExistentQueue" | "QueueDoesNotExist" | "InvalidAddress" => Self::lasting(
                "no_queue",
                format!("there is no queue {queue}: create it, or correct `queue_url` and its region"),
            ),
            "OverLimit" => Self::passing(
                "in_flight_limit",
                "too many messages of the queue are received and not deleted: look for other readers".into(),
            ),
            _ if status == 429 => Self::passing("throttled", format!("{name} is throttled ({shown})")),
            _ if status >= 500 => {
                Self::passing("server_error", format!("{name} fails in the service ({status} {shown})"))
            }
            _ if status < 300 => {
                Self::passing("malformed_answer", format!("the answer to {name} makes no sense"))
            }
            _ if status == 403 && code.is_empty() => Self::lasting(
                "denied",
                format!("{name} is not allowed (403): grant the bridge {permission} on {queue}"),
            ),
            _ => Self::lasting("refused", format!("{name} is refused ({status} {shown})")),
        }
    }

    fn passing(reason: &'static str, advice: String) -> Self {
        Self { reason, advice, passing: true }
    }

    fn lasting(reason: &'static str, advice: String) -> Self {
        Self { reason, advice, passing: false }
    }
}

fn concerns_credentials(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<CredentialsError>())
}

/// An error with what caused it, as far as it may be shown.
fn shown(error: &(dyn Error + 'static)) -> String {
    let causes: Vec<_> = causes(error).map(ToString::to_string).collect();
    Shown(&causes.join(": ")).to_string()
}

/// What the service said.
#[derive(Clone, Copy)]
struct Said<'a> {
    code: &'a str,
    message: &'a str,
    status: u16,
    action: Action,
    queue: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: &str, status: u16) -> QueueError {
        QueueError::told(Said { code, message: "", status, action: Action::Delete, queue: "https://sqs/1/q" })
    }

    #[test]
    fn what_the_service_says_becomes_a_word_and_what_to_do() {
        let missing = told("AWS.SimpleQueueService.NonExistentQueue", 400);
        assert_eq!((missing.reason, missing.passing), ("no_queue", false));
        assert!(missing.advice.contains("https://sqs/1/q"), "{missing:?}");
        let denied = told("com.amazon.coral.service#AccessDeniedException", 403);
        assert_eq!(denied.reason, "denied");
        assert!(denied.advice.contains("sqs:DeleteMessage"), "{denied:?}");
        for (code, status, reason, passing) in [
            ("KMS.ThrottlingException", 400, "throttled", true),
            ("RequestThrottled", 403, "throttled", true),
            ("", 503, "server_error", true),
            ("", 200, "malformed_answer", true),
            ("", 403, "denied", false),
            ("ExpiredToken", 403, "credentials", false),
            ("AWS.SimpleQueueService.OverLimit", 403, "in_flight_limit", true),
            ("TooManyRequestsException", 400, "throttled", true),
            ("SlowDown", 400, "throttled", true),
            ("InternalError", 400, "server_error", true),
            ("OptInRequired", 403, "credentials", false),
            ("SomethingNew", 400, "refused", false),
        ] {
            let trouble = told(code, status);
            assert_eq!((trouble.reason, trouble.passing), (reason, passing), "{code} {status}");
        }
    }

    #[test]
    fn a_wrong_clock_is_told_from_credentials_that_are_refused() {
        let message = "Signature expired: 20261128T143000Z is now earlier than 20261128T161500Z";
        let said = Said {
            code: "InvalidSignatureException",
            message,
            status: 403,
            action: Action::Receive,
            queue: "q",
        };
        let trouble = QueueError::told(said);
        assert_eq!((trouble.reason, trouble.passing), ("clock", false));
        assert!(trouble.advice.contains("set the clock"), "{trouble:?}");
    }

    #[test]
    fn a_code_cannot_steer_a_terminal() {
        assert!(!told("x\u{1b}[2J", 400).advice.contains('\u{1b}'));
    }
}
