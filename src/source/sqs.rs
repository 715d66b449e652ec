//! SQS (skeleton).

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Intake, SourceIntake};
use crate::aws::Aws;
use crate::config::SqsConfig;
use crate::health::SourceStatus;
use crate::telemetry::Metrics;

/// Skeleton.
pub struct SqsSource {}

impl SqsSource {
    /// Skeleton.
    pub async fn new(
        _config: SqsConfig,
        _source: SourceIntake,
        _intake: Intake,
        _aws: &Aws,
        _status: Arc<SourceStatus>,
        _metrics: &Metrics,
    ) -> Self {
        Self {}
    }

    /// Skeleton.
    pub async fn run(self, stop: CancellationToken) {
        stop.cancelled().await;
    }
}
