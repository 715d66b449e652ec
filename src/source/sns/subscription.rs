//! Confirms subscriptions, through the service's API and never by the URL that a message names.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sns::Client;
use aws_sdk_sns::error::DisplayErrorContext;

use crate::aws::arn::TopicArn;
use crate::aws::{Aws, Patience};

/// Tried once, because SNS sends what was not confirmed again; and for less time than SNS waits for
/// the answer, which is 15 seconds.
const CONFIRM: Patience = Patience { attempt: Duration::from_secs(4), attempts: 1 };

/// The service in each region that a topic is in.
pub(in crate::source) struct Subscriptions {
    regions: HashMap<String, Client>,
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

    /// Confirms that a topic may deliver here. From then on only who has the permission for it in
    /// the topic's account can end the subscription.
    ///
    /// # Errors
    /// What happened, and what to do about it.
    pub(in crate::source) async fn confirm(&self, topic: &TopicArn, token: &str) -> Result<(), String> {
        let client =
            self.regions.get(topic.region()).ok_or("its region is not that of a configured topic")?;
        let request = client.confirm_subscription().topic_arn(topic.as_str()).token(token);
        match Box::pin(request.authenticate_on_unsubscribe("true").send()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(format!(
                "credentials with sns:ConfirmSubscription on the topic are needed: {}",
                DisplayErrorContext(error)
            )),
        }
    }
}
