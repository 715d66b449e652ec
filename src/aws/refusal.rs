//! The error codes that all services of AWS have in common (pure). The codes of a single service are
//! judged where that service is called.

/// The meaning of an error code, whichever service it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsRefusal {
    /// There are too many requests: send fewer.
    Throttled,
    /// The credentials are unknown, or the signature does not match.
    Credentials,
    /// The session of the credentials has expired.
    Expired,
    /// The time of the signature differs from the service's clock.
    Clock,
    /// The credentials are valid, but not allowed to do this.
    Denied,
    /// The service itself has failed.
    Service,
}

/// The meaning of a code that all services have in common, `None` for any other code. A [name
/// space](bare) in front of the code is ignored.
pub fn of(code: &str) -> Option<AwsRefusal> {
    Some(match code {
        "RequestLimitExceeded" | "TooManyRequestsException" | "SlowDown" => AwsRefusal::Throttled,
        // There are two dozen such codes; some come from KMS through the service that was called.
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

/// The meaning of a code and its message: a signature that was made at another time has the same code
/// as one that was made with a wrong key.
pub fn told(code: &str, message: &str) -> Option<AwsRefusal> {
    let of_clock = ["Signature expired", "Signature not yet current"];
    match of(code) {
        Some(AwsRefusal::Credentials) if of_clock.iter().any(|words| message.contains(words)) => {
            Some(AwsRefusal::Clock)
        }
        refusal => refusal,
    }
}

/// The code without a name space such as `AWS.SimpleQueueService.` or `com.amazon.coral.service#`.
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
