//! `GET /api/v1/configuration`: the values that count, and where each is written.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use crate::admin::AdminState;
use crate::admin::effective::EffectiveConfiguration;

/// The configuration that counts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ConfigurationAnswer {
    /// Tells the configuration and its rules from others: 12 hexadecimal digits.
    fingerprint: String,
    #[serde(flatten)]
    effective: EffectiveConfiguration,
}

pub(super) async fn configuration(State(admin): State<AdminState>) -> Json<ConfigurationAnswer> {
    let summary = admin.summary();
    Json(ConfigurationAnswer {
        fingerprint: summary.fingerprint.clone(),
        effective: EffectiveConfiguration::clone(&summary.effective),
    })
}
