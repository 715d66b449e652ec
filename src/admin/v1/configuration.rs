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
    /// First 12 hexadecimal digits of the SHA-256 of the configuration's text.
    fingerprint: String,
    #[serde(flatten)]
    effective: EffectiveConfiguration,
}

pub(super) async fn configuration(State(admin): State<AdminState>) -> Json<ConfigurationAnswer> {
    let summary = &admin.summary;
    Json(ConfigurationAnswer {
        fingerprint: summary.fingerprint.clone(),
        effective: EffectiveConfiguration::clone(&summary.effective),
    })
}
