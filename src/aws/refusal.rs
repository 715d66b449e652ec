//! What the error codes mean that every service of AWS has in common (pure). The codes of one
//! service alone are judged where it is spoken to.

/// What a code says, whichever service says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too many requests: fewer will do.
    Throttled,
    /// The credentials are not known, or do not sign what the service reads.
    Credentials,
    /// The session that the credentials come from is over.
    Expired,
    /// The request was signed at another time than the service's.
    Clock,
    /// The credentials are good, and may not do this.
    Denied,
    /// The service has failed by itself.
    Service,
}

/// What this code means, if it is one of those that all have in common. Without the
/// [name space](bare) that a service may put before it.
pub fn of(code: &str) -> Option<Refusal> {
    Some(match code {
        "RequestLimitExceeded" | "TooManyRequestsException" | "SlowDown" => Refusal::Throttled,
        // In two dozen forms, also of a key's service behind the one that was asked.
        _ if code.contains("Throttl") => Refusal::Throttled,
        "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "InvalidSecurity"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "OptInRequired" => Refusal::Credentials,
        "ExpiredToken" | "ExpiredTokenException" => Refusal::Expired,
        "RequestExpired" | "RequestTimeTooSkewed" | "RequestInTheFuture" => Refusal::Clock,
        "AccessDenied" | "AccessDeniedException" | "AuthorizationError" => Refusal::Denied,
        "InternalError" | "InternalFailure" | "InternalErrorException" | "ServiceUnavailable" => {
            Refusal::Service
        }
        _ => return None,
    })
}

/// The same, with what the service says beside the code: a signature that was made at another time has
/// the code of one that was made with the wrong key.
pub fn told(code: &str, message: &str) -> Option<Refusal> {
    let of_clock = ["Signature expired", "Signature not yet current"];
    match of(code) {
        Some(Refusal::Credentials) if of_clock.iter().any(|words| message.contains(words)) => {
            Some(Refusal::Clock)
        }
        refusal => refusal,
    }
}

/// A code without the name space before it: `AWS.SimpleQueueService.`, `com.amazon.coral.service#`.
pub fn bare(code: &str) -> &str {
    code.rsplit(['.', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_means_the_same_whichever_service_says_it() {
        for (code, meaning) in [
            ("TooManyRequestsException", Some(Refusal::Throttled)),
            ("SlowDown", Some(Refusal::Throttled)),
            ("RequestThrottledException", Some(Refusal::Throttled)),
            ("KMS.ThrottlingException", Some(Refusal::Throttled)),
            ("InvalidAccessKeyId", Some(Refusal::Credentials)),
            ("InvalidSignatureException", Some(Refusal::Credentials)),
            ("OptInRequired", Some(Refusal::Credentials)),
            ("ExpiredToken", Some(Refusal::Expired)),
            ("RequestExpired", Some(Refusal::Clock)),
            ("AuthorizationError", Some(Refusal::Denied)),
            ("InternalFailure", Some(Refusal::Service)),
            ("KMSOptInRequired", None),
            ("KMSAccessDenied", None),
            ("InvalidParameter", None),
            ("", None),
        ] {
            assert_eq!(of(code), meaning, "{code}");
        }
    }

    #[test]
    fn a_signature_of_another_time_is_the_clocks_fault_and_not_the_credentials() {
        let expired = "Signature expired: 20261128T143000Z is now earlier than 20261128T161500Z";
        let early = "Signature not yet current: 20361128T163000Z is still later than 20261128T163500Z";
        for (code, message, meaning) in [
            ("SignatureDoesNotMatch", expired, Refusal::Clock),
            ("InvalidSignatureException", early, Refusal::Clock),
            ("RequestTimeTooSkewed", "", Refusal::Clock),
            ("SignatureDoesNotMatch", "The request signature we calculated", Refusal::Credentials),
            ("AccessDenied", expired, Refusal::Denied),
        ] {
            assert_eq!(told(code, message), Some(meaning), "{code}: {message}");
        }
    }

    #[test]
    fn a_codes_name_space_is_no_part_of_it() {
        assert_eq!(bare("AWS.SimpleQueueService.NonExistentQueue"), "NonExistentQueue");
        assert_eq!(bare("com.amazon.coral.service#AccessDeniedException"), "AccessDeniedException");
        assert_eq!(bare("Throttling"), "Throttling");
    }
}
