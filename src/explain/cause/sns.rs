//! Why a message that came over SNS was refused, and what to do about it.

/// Of a refusal with this status and this word, if only sources of SNS refuse so.
pub(super) fn of_sns(status: u16, word: &str) -> Option<(String, String)> {
    let (why, fix) = match (status, word) {
        (401, "message_type" | "not_an_envelope") => (
            "it is no message of SNS: its headers `x-amz-sns-…` or its envelope are missing",
            "have the proxy in between, if there is one, pass headers and body on as they are",
        ),
        (401, "password") => (
            "it lacks the user name and the password of `sns.raw`",
            "put both into the URL of the subscription's endpoint",
        ),
        (403, "other_topic" | "subscription_of_other_topic") => (
            "its topic is not on the source's list",
            "list the topic's ARN under `sns.topics` of the source, or find out who subscribed it: the log \
             of the bridge names it",
        ),
        (403, "signature_sha1") => ("it is signed with SHA-1", "set `SignatureVersion` of the topic to 2"),
        (403, "timestamp_too_old" | "timestamp_too_new") => (
            "its moment is too far from this machine's clock",
            "mend the clock of this machine (NTP), unless somebody sends recorded messages",
        ),
        (403, word) if word.starts_with("certificate_") => (
            "the certificate that it names is none of SNS's that is valid now",
            "mend the clock of this machine (NTP), unless the message is not of SNS",
        ),
        (403, _) => (
            "it is not as SNS has signed it",
            "have the proxy in between, if there is one, pass headers and body on as they are",
        ),
        (503, "confirmation") => (
            "the subscription could not be confirmed",
            "see the log of the bridge: credentials, `sns:ConfirmSubscription`, the way out to AWS",
        ),
        (503, word) if word.starts_with("certificate_") => (
            "the certificate that SNS signs with could not be fetched",
            "let the bridge reach SNS over HTTPS; its log has the error",
        ),
        _ => return None,
    };
    Some((format!("{word}: {why}"), fix.into()))
}
