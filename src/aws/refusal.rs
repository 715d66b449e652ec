//! What the error codes mean that every service of AWS has in common (pure). The codes of one
//! service alone are judged where it is spoken to.

/// What a code says, whichever service says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsRefusal {
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
pub fn of(code: &str) -> Option<AwsRefusal> {
    Some(match code {
        "RequestLimitExceeded" | "TooManyRequestsException" | "SlowDown" => AwsRefusal::Throttled,
        // In two dozen forms, also of a key's service behind the one that was asked.
        _ if code.contains("Throttl") => AwsRefusal::Throttled,
        "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "InvalidSecurity"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "OptInRequired" => AwsRefusal::Credentials,
        "ExpiredToken" | "ExpiredTokenException" => AwsRefusal::Expired,
        "RequestExpired" | "RequestTimeTooSkewed" | "RequestInTheFuture" => AwsRefusal::Clock,
        "AccessDenied" | "AccessDeniedException" | "AuthorizationError" => AwsRefusal::Denied,
        "InternalError" | "InternalFailure" | "InternalErrorException" | "ServiceUnavailable" => {
            AwsRefusal::Service
        }
        _ => return None,
    })
}

/// The same, with what the service says beside the code: a signature that was made at another time has
/// the code of one that was made with the wrong key.
pub fn told(code: &str, message: &str) -> Option<AwsRefusal> {
    let of_clock = ["Signature expired", "Signature not yet current"];
    match of(code) {
        Some(AwsRefusal::Credentials) if of_clock.iter().any(|words| message.contains(words)) => {
            Some(AwsRefusal::Clock)
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
            ("TooManyRequestsException", Some(AwsRefusal::Throttled)),
            ("SlowDown", Some(AwsRefusal::Throttled)),
            ("RequestThrottledException", Some(AwsRefusal::Throttled)),
            ("KMS.ThrottlingException", Some(AwsRefusal::Throttled)),
            ("InvalidAccessKeyId", Some(AwsRefusal::Credentials)),
            ("InvalidSignatureException", Some(AwsRefusal::Credentials)),
            ("OptInRequired", Some(AwsRefusal::Credentials)),
            ("ExpiredToken", Some(AwsRefusal::Expired)),
            ("RequestExpired", Some(AwsRefusal::Clock)),
            ("AuthorizationError", Some(AwsRefusal::Denied)),
            ("InternalFailure", Some(AwsRefusal::Service)),
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
            ("SignatureDoesNotMatch", expired, AwsRefusal::Clock),
            ("InvalidSignatureException", early, AwsRefusal::Clock),
            ("RequestTimeTooSkewed", "", AwsRefusal::Clock),
            ("SignatureDoesNotMatch", "The request signature we calculated", AwsRefusal::Credentials),
            ("AccessDenied", expired, AwsRefusal::Denied),
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
