//! What an error of the service means for a record, and for all others (pure).
//!
//! A record is refused only for itself: when its entry is, or when it was alone in a refused
//! request. Trouble with a topic, a key or credentials refuses none: those records are kept.

use crate::aws::refusal::{self, Refusal};
use crate::event::Reason;

/// What became of one record of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The service has it.
    Published,
    /// This very record cannot be published.
    Refused(Reason),
    /// Its request was refused, which may be another one's fault.
    Suspect,
    /// The service did not take this record now, and knows so.
    Failed(String),
    /// The service wants fewer requests.
    Throttled(String),
    /// The request failed, perhaps after it was carried out.
    Unclear(Reason),
    /// Nothing of this topic gets through.
    Trouble(Reason),
}

/// What a code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Refused(&'static str),
    Failed,
    Throttled,
    Trouble(&'static str, &'static str),
}

/// What a code means, if it is one that is known. The message only tells two meanings of a code apart.
fn meaning(code: &str, message: &str) -> Option<Meaning> {
    use Meaning::{Failed, Throttled, Trouble};
    let common = refusal::of(code).map(|refusal| match refusal {
        Refusal::Throttled => Throttled,
        Refusal::Service => Failed,
        Refusal::Denied => Trouble("topic_forbidden", "allow `sns:Publish` on the topic"),
        Refusal::Credentials | Refusal::Expired => {
            Trouble("credentials", "renew the AWS credentials, or give the bridge others")
        }
        Refusal::Clock => Trouble("credentials", "set this machine's clock"),
    });
    common.or_else(|| meaning_here(code, message))
}

/// The codes of this service alone.
fn meaning_here(code: &str, message: &str) -> Option<Meaning> {
    use Meaning::{Refused, Trouble};
    Some(match code {
        "NotFound" | "NotFoundException" => {
            Trouble("unknown_topic", "create it with `fanbridge topics apply`")
        }
        // Also what a topic of the wrong account or kind is answered with.
        "InvalidParameter" if message.contains("TopicArn") => {
            Trouble("unknown_topic", "check the sink's `topic`")
        }
        _ if code.starts_with("KMS") => Trouble("topic_key", "check the topic's KMS key and who may use it"),
        "EndpointDisabled" | "PlatformApplicationDisabled" => Trouble("topic_disabled", "enable it"),
        "BatchRequestTooLong" | "MessageTooLong" => Refused("too_large"),
        "InvalidParameter" if message.contains("too long") => Refused("too_large"),
        "InvalidParameter"
        | "InvalidParameterValue"
        | "ParameterValueInvalid"
        | "ValidationError"
        | "ValidationException" => Refused("invalid_parameter"),
        _ => return None,
    })
}

/// The fate of a record whose entry failed in a request that was carried out.
pub(super) fn of_entry(code: &str, message: &str, sender_fault: bool) -> Fate {
    let unknown = if sender_fault { Meaning::Refused("refused") } else { Meaning::Failed };
    match meaning(code, message).unwrap_or(unknown) {
        Meaning::Refused(word) if sender_fault => Fate::Refused(reason(word, code, message, None)),
        Meaning::Refused(_) | Meaning::Failed => Fate::Failed(said(code, message)),
        Meaning::Throttled => Fate::Throttled(said(code, message)),
        Meaning::Trouble(word, advice) => Fate::Trouble(reason(word, code, message, Some(advice))),
    }
}

/// The fate of each of so many records whose request failed with this answer.
pub(super) fn of_request(status: u16, code: Option<&str>, message: &str, records: usize) -> Fate {
    let code = code.filter(|code| !code.is_empty()).unwrap_or(match status {
        413 => "MessageTooLong",
        429 => "Throttled",
        _ => "",
    });
    let unknown = if status >= 500 { Meaning::Failed } else { Meaning::Trouble("request_refused", "") };
    match meaning(code, message).unwrap_or(unknown) {
        Meaning::Refused(word) if records == 1 => Fate::Refused(reason(word, code, message, None)),
        Meaning::Refused(_) => Fate::Suspect,
        Meaning::Throttled => Fate::Throttled(said(code, message)),
        Meaning::Failed => Fate::Unclear(Reason {
            word: "service_error",
            detail: format!("{status} {}", said(code, message)),
        }),
        Meaning::Trouble(word, "") => {
            Fate::Trouble(Reason { word, detail: format!("{status} {}", said(code, message)) })
        }
        Meaning::Trouble(word, advice) => Fate::Trouble(reason(word, code, message, Some(advice))),
    }
}

fn reason(word: &'static str, code: &str, message: &str, advice: Option<&str>) -> Reason {
    let said = said(code, message);
    let detail = advice.map_or_else(|| said.clone(), |advice| format!("{advice} ({said})"));
    Reason { word, detail }
}

/// What the service says, cut short: some of its messages repeat the request they are about.
fn said(code: &str, message: &str) -> String {
    const CHARS_MAX: usize = 200;
    let mut said: String = message.chars().take(CHARS_MAX).collect();
    if said.len() < message.len() {
        said.push('…');
    }
    match (code, &*said) {
        ("", "") => "no error code".into(),
        ("", _) => said,
        (_, "") => code.into(),
        _ => format!("{code}: {said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(fate: &Fate) -> &'static str {
        match fate {
            Fate::Published => "published",
            Fate::Suspect => "suspect",
            Fate::Failed(_) => "failed",
            Fate::Throttled(_) => "throttled",
            Fate::Refused(reason) | Fate::Unclear(reason) | Fate::Trouble(reason) => reason.word,
        }
    }

    #[test]
    fn an_entry_is_refused_only_if_the_fault_is_the_senders_and_not_its_topics() {
        for (code, message, sender_fault, expected) in [
            ("InvalidParameter", "Invalid parameter: Message", true, "invalid_parameter"),
            ("InvalidParameter", "Invalid parameter: Message too long", true, "too_large"),
            ("SomethingNew", "", true, "refused"),
            ("SomethingNew", "", false, "failed"),
            ("InvalidParameter", "", false, "failed"),
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
        for (status, code, expected) in [
            (400, Some("BatchRequestTooLong"), "too_large"),
            (413, None, "too_large"),
            (400, Some("ParameterValueInvalid"), "invalid_parameter"),
        ] {
            assert_eq!(word(&of_request(status, code, "", 1)), expected);
            assert_eq!(of_request(status, code, "", 2), Fate::Suspect);
        }
    }

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
            assert!(!matches!(fate, Fate::Refused(_) | Fate::Suspect), "{fate:?}");
        }
    }

    #[test]
    fn what_the_service_says_is_cut_short() {
        let Fate::Failed(said) = of_entry("InternalError", &"x".repeat(1000), false) else { panic!() };
        assert!(said.starts_with("InternalError: xxx") && said.chars().count() < 220, "{said}");
    }
}
