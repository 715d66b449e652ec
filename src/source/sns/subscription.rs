//! Confirms subscriptions through the service's API, and never by the URL that a message names.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sns::Client;
use aws_sdk_sns::error::{DisplayErrorContext, ProvideErrorMetadata};

use crate::aws::arn::TopicArn;
use crate::aws::{Aws, CallTimeouts, refusal};

/// A confirmation is tried once, because SNS repeats its question; and for less than the 15 seconds that
/// SNS waits for the answer.
const CONFIRM: CallTimeouts = CallTimeouts { attempt: Duration::from_secs(4), attempts: 1 };

/// Clients of the SNS service, one for each region that a configured topic is in.
#[derive(Clone)]
pub(in crate::source) struct Subscriptions {
    regions: HashMap<String, Client>,
}

/// Why a subscription is not confirmed.
#[derive(Debug)]
pub(in crate::source) struct Unconfirmed {
    /// The service's code, if the service refused the token for good.
    pub refused: Option<&'static str>,
    /// The problem and what to do about it. Holds no token.
    pub problem: String,
}

impl Subscriptions {
    /// Clients for the regions of these topics.
    pub(in crate::source) async fn new(topics: &[TopicArn], aws: &Aws) -> Self {
        let mut regions = HashMap::new();
        for topic in topics {
            if !regions.contains_key(topic.region()) {
                let client = Client::new(&aws.settings(Some(topic.region()), CONFIRM).await);
                regions.insert(topic.region().to_owned(), client);
            }
        }
        Self { regions }
    }

    /// Confirms a topic's subscription. From then on, only principals with the permission in the topic's
    /// account can end the subscription.
    ///
    /// # Errors
    /// Why the subscription is not confirmed.
    pub(in crate::source) async fn confirm(&self, topic: &TopicArn, token: &str) -> Result<(), Unconfirmed> {
        let Some(client) = self.regions.get(topic.region()) else {
            let problem = "the topic's region is not the region of any configured topic".to_owned();
            return Err(Unconfirmed { refused: None, problem });
        };
        let request = client.confirm_subscription().topic_arn(topic.as_str()).token(token);
        let Err(error) = Box::pin(request.authenticate_on_unsubscribe("true").send()).await else {
            return Ok(());
        };
        let refused = refusal_of_token(error.code().unwrap_or_default(), error.message().unwrap_or_default());
        let said = match refused {
            // The message beside the code could repeat the token.
            Some(code) => format!("SNS refuses the token of the question ({code})"),
            None => DisplayErrorContext(error).to_string(),
        };
        let problem = format!("credentials with sns:ConfirmSubscription on the topic are needed: {said}");
        Err(Unconfirmed { refused, problem })
    }
}

/// The code by which the service refuses a token for good: the token is not the topic's, was used before
/// or is too old, or the topic or its subscription no longer exists. `None` for a code that concerns the
/// bridge's own permissions or the service: once that is mended, the same token can be used.
fn refusal_of_token(code: &str, message: &str) -> Option<&'static str> {
    match refusal::bare(code) {
        "InvalidParameter" | "InvalidParameterValue" | "ValidationError" => Some("InvalidParameter"),
        "NotFound" => Some("NotFound"),
        // With these words the service says that the bridge's own credentials lack the permission.
        "AuthorizationError" if message.contains("not authorized to perform") => None,
        "AuthorizationError" => Some("AuthorizationError"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_says_to_a_token_is_its_answer_or_is_to_be_mended() {
        let user = "User: arn:aws:sts::111111111111:assumed-role/bridge/i is not authorized to perform: \
                    SNS:ConfirmSubscription on resource: arn:aws:sns:eu-west-1:222222222222:events";
        for (code, message, refused) in [
            ("InvalidParameter", "Invalid parameter: Token", Some("InvalidParameter")),
            ("InvalidParameter", "Invalid parameter: TopicArn", Some("InvalidParameter")),
            ("InvalidParameterValue", "", Some("InvalidParameter")),
            ("ValidationError", "", Some("InvalidParameter")),
            ("NotFound", "Topic does not exist", Some("NotFound")),
            ("com.amazonaws.sns#NotFound", "", Some("NotFound")),
            ("AuthorizationError", "", Some("AuthorizationError")),
            ("AuthorizationError", "You are not the owner", Some("AuthorizationError")),
            ("AuthorizationError", user, None),
            ("AccessDenied", "", None),
            ("AccessDeniedException", user, None),
            ("InvalidClientTokenId", "The security token included in the request is invalid", None),
            ("ExpiredToken", "", None),
            ("SignatureDoesNotMatch", "Signature expired", None),
            ("OptInRequired", "", None),
            // The account's own bounds.
            ("SubscriptionLimitExceeded", "", None),
            ("FilterPolicyLimitExceeded", "", None),
            ("ReplayLimitExceeded", "", None),
            ("Throttling", "Rate exceeded", None),
            ("InternalError", "", None),
            ("ServiceUnavailable", "", None),
            // No answer, or none that is known.
            ("", "", None),
            ("NeverHeardOf", "Invalid parameter", None),
        ] {
            assert_eq!(refusal_of_token(code, message), refused, "{code}: {message}");
        }
    }
}
