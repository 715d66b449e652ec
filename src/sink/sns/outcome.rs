//! What an error of SNS means for a record and for the others of its request (pure).
//!
//! A record is refused only for what is its own: its entry was refused, or it was alone in a refused
//! request, and the answer names a part of the record. A problem with the topic, its key, the
//! credentials or the clock refuses no record, and neither does an unknown answer: such records are
//! kept and tried again.

use crate::aws::refusal::{self, AwsRefusal};
use crate::event::Placement;
use crate::sink::{Cause, Reason};

/// The fate of one record of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EntryFate {
    /// The service has it, under the id that it gave the message.
    Published(Placement),
    /// This record can never be published.
    Refused(Reason),
    /// The request was refused, perhaps because of another record in it.
    Suspect,
    /// The service did not take this record this time, and said so.
    Failed(String),
    /// The service wants fewer requests.
    Throttled(String),
    /// The request failed, perhaps after the service had carried it out.
    Unclear(Reason),
    /// No record of this topic can be published for now.
    Trouble(Reason),
}

/// The meaning of an error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The cause and its explanation.
    Refused(Cause, &'static str),
    Failed,
    Throttled,
    /// The cause and what to do about it.
    Trouble(Cause, &'static str),
}

/// The meaning of a known error code. The message is used only to tell two meanings of one code apart
/// and is not passed on: some messages of the service repeat the request.
fn meaning(code: &str, message: &str) -> Option<Meaning> {
    use Meaning::{Failed, Throttled, Trouble};
    let common = refusal::told(code, message).map(|refusal| match refusal {
        AwsRefusal::Throttled => Throttled,
        AwsRefusal::Service => Failed,
        AwsRefusal::Denied => Trouble(Cause::TOPIC_FORBIDDEN, "allow `sns:Publish` on the topic"),
        AwsRefusal::Credentials | AwsRefusal::Expired => {
            Trouble(Cause::CREDENTIALS, "renew the AWS credentials, or give the bridge others")
        }
        AwsRefusal::Clock => Trouble(Cause::CLOCK, "set this machine's clock: it differs from the service's"),
    });
    common.or_else(|| meaning_here(code, message))
}

const TOO_LARGE: Meaning = Meaning::Refused(Cause::TOO_LARGE, "the topic takes no message of this size");

/// The codes that only SNS uses.
fn meaning_here(code: &str, message: &str) -> Option<Meaning> {
    use Meaning::{Refused, Trouble};
    Some(match code {
        "NotFound" | "NotFoundException" => {
            Trouble(Cause::UNKNOWN_TOPIC, "create it with `fanbridge topics apply`")
        }
        // SNS also answers this for a topic of another account.
        "InvalidParameter" if message.contains("TopicArn") => {
            Trouble(Cause::UNKNOWN_TOPIC, "check the sink's `topic`")
        }
        _ if code.starts_with("KMS") => {
            Trouble(Cause::TOPIC_KEY, "check the topic's KMS key and its key policy")
        }
        "EndpointDisabled" | "PlatformApplicationDisabled" => Trouble(Cause::TOPIC_DISABLED, "enable it"),
        "BatchRequestTooLong" | "MessageTooLong" => TOO_LARGE,
        "InvalidParameter" if message.contains("too long") => TOO_LARGE,
        "InvalidParameter"
        | "InvalidParameterValue"
        | "ParameterValueInvalid"
        | "ValidationError"
        | "ValidationException" => match is_about_the_record(message) {
            true => Refused(Cause::INVALID_PARAMETER, "SNS does not take its text or one of its attributes"),
            false => Trouble(Cause::REQUEST_REFUSED, "check the topic's kind and the sink's settings"),
        },
        _ => return None,
    })
}

/// Whether the service names a part of the record, and not its topic or the topic's kind, as in "The
/// MessageGroupId parameter is required for FIFO topics".
fn is_about_the_record(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let names = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    names(&["message", "attribute", "subject"]) && !names(&["topic", "fifo"])
}

/// The fate of a record whose entry failed in a request that the service carried out.
pub(super) fn of_entry(code: &str, message: &str, sender_fault: bool) -> EntryFate {
    let unknown = if sender_fault { Meaning::Trouble(Cause::REQUEST_REFUSED, "") } else { Meaning::Failed };
    let said = said(code);
    match meaning(code, message).unwrap_or(unknown) {
        Meaning::Refused(cause, advice) if sender_fault => EntryFate::Refused(reason(cause, advice, said)),
        Meaning::Refused(..) | Meaning::Failed => EntryFate::Failed(said),
        Meaning::Throttled => EntryFate::Throttled(said),
        Meaning::Trouble(cause, advice) => EntryFate::Trouble(reason(cause, advice, said)),
    }
}

/// The fate of each record of a request that failed as a whole with this answer.
pub(super) fn of_request(status: u16, code: Option<&str>, message: &str, records: usize) -> EntryFate {
    let code = code.filter(|code| !code.is_empty()).unwrap_or(match status {
        413 => "MessageTooLong",
        429 => "Throttled",
        _ => "",
    });
    let unknown = if status >= 500 { Meaning::Failed } else { Meaning::Trouble(Cause::REQUEST_REFUSED, "") };
    let said = format!("{status} {}", said(code));
    match meaning(code, message).unwrap_or(unknown) {
        Meaning::Refused(cause, advice) if records == 1 => EntryFate::Refused(reason(cause, advice, said)),
        Meaning::Refused(..) => EntryFate::Suspect,
        Meaning::Throttled => EntryFate::Throttled(said),
        Meaning::Failed => EntryFate::Unclear(reason(Cause::SERVICE_ERROR, "", said)),
        Meaning::Trouble(cause, advice) => EntryFate::Trouble(reason(cause, advice, said)),
    }
}

fn reason(cause: Cause, advice: &str, said: String) -> Reason {
    let detail = if advice.is_empty() { said } else { format!("{advice} ({said})") };
    Reason { cause, detail }
}

/// The code as it can be shown: printable ASCII, cut after 64 characters.
fn said(code: &str) -> String {
    const CHARS_MAX: usize = 64;
    let said: String = code.chars().filter(char::is_ascii_graphic).take(CHARS_MAX).collect();
    if said.is_empty() { "no error code".into() } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(fate: &EntryFate) -> &'static str {
        match fate {
            EntryFate::Published(_) => "published",
            EntryFate::Suspect => "suspect",
            EntryFate::Failed(_) => "failed",
            EntryFate::Throttled(_) => "throttled",
            EntryFate::Refused(reason) | EntryFate::Unclear(reason) | EntryFate::Trouble(reason) => {
                reason.word()
            }
        }
    }

    #[test]
    fn an_entry_is_refused_only_if_the_fault_is_the_senders_and_not_its_topics() {
        for (code, message, sender_fault, expected) in [
            ("InvalidParameter", "Invalid parameter: Message", true, "invalid_parameter"),
            ("InvalidParameter", "Invalid parameter: Message too long", true, "too_large"),
            ("InvalidParameter", "Invalid parameter: MessageAttributes", true, "invalid_parameter"),
            // It says nothing of the record, or speaks of the topic.
            ("InvalidParameter", "", true, "request_refused"),
            ("InvalidParameter", FIFO_WANTED, true, "request_refused"),
            ("InvalidParameter", NO_FIFO, true, "request_refused"),
            ("SomethingNew", "Message", true, "request_refused"),
            ("SomethingNew", "", false, "failed"),
            ("InvalidParameter", "Message", false, "failed"),
            ("InternalError", "", true, "failed"),
            ("Throttled", "", true, "throttled"),
            ("AuthorizationError", "", true, "topic_forbidden"),
            ("KMSDisabled", "", true, "topic_key"),
            ("KMSThrottling", "", true, "throttled"),
        ] {
            assert_eq!(word(&of_entry(code, message, sender_fault)), expected, "{code} {message}");
        }
    }

    #[test]
    fn a_refused_request_refuses_a_record_only_if_it_was_alone() {
        for (status, code, message, expected) in [
            (400, Some("BatchRequestTooLong"), "", "too_large"),
            (413, None, "", "too_large"),
            (400, Some("ParameterValueInvalid"), "The message attribute 'a' is empty", "invalid_parameter"),
            (400, Some("ValidationError"), "Value '' at 'message' failed", "invalid_parameter"),
        ] {
            assert_eq!(word(&of_request(status, code, message, 1)), expected);
            assert_eq!(of_request(status, code, message, 2), EntryFate::Suspect);
        }
    }

    /// Every code that is known of SNS or of all of AWS, by what must be the case for a record to be
    /// refused: nothing but its size, or a part of it that the service names.
    #[test]
    fn no_other_code_refuses_a_record_whatever_is_said_with_it() {
        let own_faults: &[(&str, &str)] = &[
            ("BatchRequestTooLong", ""),
            ("MessageTooLong", ""),
            ("InvalidParameter", "Message"),
            ("InvalidParameterValue", "Message"),
            ("ParameterValueInvalid", "Message"),
            ("ValidationError", "Message"),
            ("ValidationException", "Message"),
        ];
        let is_refused = |code: &str, message: &str| {
            let alone = of_request(400, Some(code), message, 1);
            let entry = of_entry(code, message, true);
            [alone, entry].iter().any(|fate| matches!(fate, EntryFate::Refused(_) | EntryFate::Suspect))
        };
        for (code, message) in own_faults {
            assert!(is_refused(code, message), "{code}");
            // Of one entry "too long" is said by the code alone.
            assert_eq!(is_refused(code, NO_FIFO), message.is_empty(), "{code}");
        }
        for code in CODES.split_whitespace().filter(|code| own_faults.iter().all(|(own, _)| own != code)) {
            for message in ["", "Message", "Message too long", NO_FIFO, "Signature expired"] {
                assert!(!is_refused(code, message), "{code} {message}");
            }
        }
    }

    /// What the models of SNS and the errors that all services share have.
    const CODES: &str = "AccessDenied AccessDeniedException AuthorizationError AuthFailure \
        BatchEntryIdsNotDistinct BatchRequestTooLong ConcurrentAccess EmptyBatchRequest \
        EndpointDisabled ExpiredToken \
        ExpiredTokenException FilterPolicyLimitExceeded IncompleteSignature InternalError InternalFailure \
        InvalidAccessKeyId InvalidAction InvalidBatchEntryId InvalidClientTokenId InvalidParameter \
        InvalidParameterCombination InvalidParameterValue InvalidQueryParameter InvalidSecurity \
        InvalidSignatureException InvalidState KMSAccessDenied KMSDisabled KMSInvalidState KMSNotFound \
        KMSOptInRequired KMSThrottling MalformedQueryString MessageTooLong MissingAction \
        MissingAuthenticationToken MissingParameter NotAuthorized NotFound NotFoundException OptedOut \
        OptInRequired ParameterValueInvalid PlatformApplicationDisabled ReplayLimitExceeded RequestExpired \
        RequestLimitExceeded RequestTimeTooSkewed ResourceNotFound ServiceUnavailable SignatureDoesNotMatch \
        SlowDown StaleTag SubscriptionLimitExceeded TagLimitExceeded TagPolicy Throttled Throttling \
        ThrottlingException TooManyEntriesInBatchRequest TooManyRequestsException TopicLimitExceeded \
        UnrecognizedClientException UserError ValidationError ValidationException VerificationException";
    const FIFO_WANTED: &str = "Invalid parameter: The MessageGroupId parameter is required for FIFO topics";
    const NO_FIFO: &str = "Invalid parameter: MessageGroupId Reason: it is not valid for this topic type";

    #[test]
    fn trouble_that_is_no_records_fault_rejects_none() {
        for (status, code, message, expected) in [
            (404, Some("NotFound"), "Topic does not exist", "unknown_topic"),
            (400, Some("InvalidParameter"), "Invalid parameter: TopicArn", "unknown_topic"),
            (403, Some("AuthorizationError"), "", "topic_forbidden"),
            (403, Some("InvalidClientTokenId"), "", "credentials"),
            (403, Some("ExpiredToken"), "", "credentials"),
            (403, Some("InvalidAccessKeyId"), "", "credentials"),
            (403, Some("InvalidSignatureException"), "", "credentials"),
            (403, Some("SignatureDoesNotMatch"), "Signature expired: it was another day", "clock"),
            (400, Some("RequestExpired"), "", "clock"),
            (400, Some("InvalidParameter"), "Invalid parameter: TopicArn Message", "unknown_topic"),
            (400, Some("InvalidParameter"), "", "request_refused"),
            (400, Some("KMSOptInRequired"), "", "topic_key"),
            (400, Some("EndpointDisabled"), "", "topic_disabled"),
            (400, Some("Throttling"), "Rate exceeded", "throttled"),
            (429, None, "", "throttled"),
            (500, Some("InternalError"), "", "service_error"),
            (503, None, "", "service_error"),
            (418, Some("Teapot"), "", "request_refused"),
        ] {
            let fate = of_request(status, code, message, 1);
            assert_eq!(word(&fate), expected);
            assert!(!matches!(fate, EntryFate::Refused(_) | EntryFate::Suspect), "{fate:?}");
        }
    }

    #[test]
    fn nothing_of_a_message_of_the_service_is_passed_on() {
        let message = "Invalid parameter: SECRETBODY";
        let fates = [
            of_entry("InvalidParameter", message, true),
            of_entry("InvalidParameter", message, false),
            of_entry("AuthorizationError", message, true),
            of_entry("Throttled", message, true),
            of_request(400, Some("InvalidParameter"), message, 1),
            of_request(400, Some("InvalidParameter"), "Invalid parameter: TopicArn SECRETBODY", 1),
            of_request(400, None, message, 1),
            of_request(500, Some("InternalError"), message, 1),
        ];
        for fate in fates {
            assert!(!format!("{fate:?}").contains("SECRETBODY"), "{fate:?}");
        }
    }

    #[test]
    fn a_code_is_cut_short_and_cannot_steer_a_terminal() {
        let EntryFate::Failed(said) = of_entry(&"x".repeat(1000), "", false) else { panic!() };
        assert_eq!(said.len(), 64);
        let EntryFate::Failed(said) = of_entry("x\u{1b}[2J\u{202e}y", "", false) else { panic!() };
        assert_eq!(said, "x[2Jy");
    }
}
