//! SNS (skeleton).

use std::sync::Arc;

use super::{Publication, Sink};
use crate::aws::Aws;
use crate::config::SnsSinkConfig;
use crate::event::{Outcome, Reason, Record};

/// Skeleton.
pub struct SnsSink {}

impl SnsSink {
    /// Skeleton.
    pub async fn new(_name: &str, _config: &SnsSinkConfig, _aws: &Aws) -> Self {
        Self {}
    }
}

impl Sink for SnsSink {
    fn publish(&self, batch: Vec<Arc<Record>>) -> Publication {
        let retry = Outcome::Retry(Reason { word: "unreachable", detail: String::new() });
        Box::pin(async move { vec![retry; batch.len()] })
    }
}
