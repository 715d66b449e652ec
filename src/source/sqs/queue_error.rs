//! Explains why a call to SQS failed: a word for the metrics, and a sentence with what to do.

use std::error::Error;

use aws_config::SdkConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};

use super::action::Action;
use crate::aws::refusal::{self, AwsRefusal};
use crate::aws::{causes, credentials_problem};
use crate::telemetry::Shown;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueueError {
    /// The reason, a word from a fixed list.
    pub(super) reason: &'static str,
    /// What is wrong and what to do. Holds no secret and no body.
    pub(super) advice: String,
    /// Whether the next attempt is likely to succeed, so that a single failure is not logged.
    pub(super) passing: bool,
    /// Whether there are no AWS credentials, or the service refuses them.
    pub(super) lacks_credentials: bool,
}

impl QueueError {
    /// Reads an error. If credentials can be its cause, asks the credentials provider for them, which can
    /// take a few seconds.
    pub(super) async fn of<E>(
        error: &SdkError<E, HttpResponse>,
        action: Action,
        queue: &str,
        settings: &SdkConfig,
    ) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let name = action.name();
        match error {
            SdkError::TimeoutError(_) => Self::passing("timeout", format!("{name} was not answered in time")),
            SdkError::ServiceError(refused) => {
                let code = refused.err().code().unwrap_or_default();
                let message = refused.err().message().unwrap_or_default();
                let status = refused.raw().status().as_u16();
                Self::of_answer(Answer { code, message, status, action, queue })
            }
            SdkError::ResponseError(_) => {
                Self::passing("malformed_answer", format!("the answer to {name} is malformed"))
            }
            _ if concerns_credentials(error) => {
                let problem = credentials_problem(settings).await;
                // Credentials can have become available between the call and the question.
                let problem =
                    problem.unwrap_or_else(|| "there were no AWS credentials when the call was made".into());
                Self::lacking_credentials(problem)
            }
            SdkError::DispatchFailure(_) => {
                Self::passing("connection", format!("{name} did not reach the service: {}", shown(error)))
            }
            _ => Self::lasting("request", format!("{name} could not be sent: {}", shown(error))),
        }
    }

    fn of_answer(answer: Answer<'_>) -> Self {
        let Answer { code, message, status, action, queue } = answer;
        let (name, permission) = (action.name(), action.permission());
        let code = refusal::bare(code);
        let shown = Shown(code);
        match refusal::told(code, message) {
            Some(AwsRefusal::Throttled) => {
                Self::passing("throttled", format!("the service throttles {name} ({shown})"))
            }
            Some(AwsRefusal::Service) => {
                Self::passing("server_error", format!("{name} failed in the service ({status} {shown})"))
            }
            Some(AwsRefusal::Denied) => Self::lasting(
                "denied",
                format!(
                    "{name} is not allowed ({shown}): grant the bridge {permission} on {queue}, and \
                     kms:Decrypt on the queue's KMS key if it has one"
                ),
            ),
            Some(AwsRefusal::Credentials) => Self::lacking_credentials(format!(
                "the AWS credentials are refused ({shown}): check the key, its secret and the region"
            )),
            Some(AwsRefusal::Expired) => Self::lacking_credentials(format!(
                "the AWS credentials have expired ({shown}): renew them at their origin, and check this \
                 machine's clock"
            )),
            Some(AwsRefusal::Clock) => Self::lasting(
                "clock",
                format!("this machine's clock differs from the service's ({shown}): set the clock"),
            ),
            None => Self::of_queue_code(answer),
        }
    }

    /// Explains the codes that only SQS uses, and answers without a code.
    fn of_queue_code(answer: Answer<'_>) -> Self {
        let Answer { code, status, action, queue, .. } = answer;
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
                "the queue has too many messages that were received and not deleted: see whether other \
                 readers receive from it without deleting"
                    .into(),
            ),
            _ if status == 429 => {
                Self::passing("throttled", format!("the service throttles {name} ({shown})"))
            }
            _ if status >= 500 => {
                Self::passing("server_error", format!("{name} failed in the service ({status} {shown})"))
            }
            _ if status < 300 => {
                Self::passing("malformed_answer", format!("the answer to {name} is malformed"))
            }
            _ if status == 403 && code.is_empty() => Self::lasting(
                "denied",
                format!("{name} is not allowed (403): grant the bridge {permission} on {queue}"),
            ),
            _ => Self::lasting("refused", format!("the service refused {name} ({status} {shown})")),
        }
    }

    fn passing(reason: &'static str, advice: String) -> Self {
        Self { reason, advice, passing: true, lacks_credentials: false }
    }

    fn lasting(reason: &'static str, advice: String) -> Self {
        Self { reason, advice, passing: false, lacks_credentials: false }
    }

    fn lacking_credentials(advice: String) -> Self {
        Self { lacks_credentials: true, ..Self::lasting("credentials", advice) }
    }
}

fn concerns_credentials(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<CredentialsError>())
}

/// The text of an error and of its causes, made safe to show.
fn shown(error: &(dyn Error + 'static)) -> String {
    let causes: Vec<_> = causes(error).map(ToString::to_string).collect();
    Shown(&causes.join(": ")).to_string()
}

/// The service's answer to a call that failed.
#[derive(Clone, Copy)]
struct Answer<'a> {
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
        QueueError::of_answer(Answer {
            code,
            message: "",
            status,
            action: Action::Delete,
            queue: "https://sqs/1/q",
        })
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
            let error = told(code, status);
            assert_eq!((error.reason, error.passing), (reason, passing), "{code} {status}");
        }
    }

    #[test]
    fn a_wrong_clock_is_told_from_credentials_that_are_refused() {
        let message = "Signature expired: 20261128T143000Z is now earlier than 20261128T161500Z";
        let answer = Answer {
            code: "InvalidSignatureException",
            message,
            status: 403,
            action: Action::Receive,
            queue: "q",
        };
        let error = QueueError::of_answer(answer);
        assert_eq!((error.reason, error.passing), ("clock", false));
        assert!(error.advice.contains("set the clock"), "{error:?}");
    }

    #[test]
    fn a_code_cannot_steer_a_terminal() {
        assert!(!told("x\u{1b}[2J", 400).advice.contains('\u{1b}'));
    }
}
