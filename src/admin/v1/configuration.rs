//! `GET /api/v1/configuration`: the values that count, where each is written, and how the last
//! reload ended.

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use crate::admin::AdminState;
use crate::admin::effective::EffectiveConfiguration;
use crate::admin::reload::LastReload;

/// The configuration that counts.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ConfigurationAnswer {
    /// Tells the configuration and its rules from others: 12 hexadecimal digits.
    fingerprint: String,
    /// Since when it counts, in RFC 3339; `null` until the bridge runs.
    since: Option<String>,
    /// The last reload, with its result; `null` before the first one.
    last_reload: Option<LastReload>,
    #[serde(flatten)]
    effective: EffectiveConfiguration,
}

pub(super) async fn configuration(State(admin): State<AdminState>) -> Json<ConfigurationAnswer> {
    let (summary, known) = (admin.summary(), admin.controls.get().map(|controls| controls.reloader.known()));
    let (since, last_reload) = known.map(|known| (known.since.to_rfc3339(), known.last)).unzip();
    Json(ConfigurationAnswer {
        fingerprint: summary.fingerprint.clone(),
        since,
        last_reload: last_reload.flatten(),
        effective: EffectiveConfiguration::clone(&summary.effective),
    })
}
