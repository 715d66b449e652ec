//! `GET /api/v1/spool`: the space of the log, how fast it fills, and how fast its disk answers.
//!
//! | Member | Meaning |
//! |---|---|
//! | `accepting`, `refuses_because` | whether deliveries are stored now, and if not, why: one word |
//! | `bytes`, `bytes_max`, `free_bytes`, `segments`, … | as under `spool` in `/api/v1/status` |
//! | `capacity_left` | bytes that can still be written, with all that can be pruned for it |
//! | `capacity_whole` | the same, and the bytes that cannot be pruned |
//! | `events_per_second` | how fast the log grows, `null` while that is not known |
//! | `over_seconds` | over which time rates are taken, at most |
//! | `fills_bytes_per_second` | how fast `capacity_left` shrinks; `null` if it does not, or is not known |
//! | `seconds_to_full` | how long `capacity_left` lasts at that rate, else `null` |
//! | `fdatasync_ms` | `{"p50", "p99"}` of one fdatasync since the start, `null` if there was none |
//! | `disk_outstanding_ms` | how long what the disk does now has taken; 0 if it does nothing |
//! | `corrupt_records`, `torn_tails` | damage that was found since the start |
//! | `no_room` | what the state file cannot store for lack of space, else left out |

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::observed::{CAPACITY_LEFT, LOG_HEAD, TakesMillis, observed, rounded};
use crate::admin::status::SpoolState;
use crate::admin::{AdminState, ProblemAnswer, probes};
use crate::health::millis;
use crate::state::Shortage;

/// The space and the disk of the log.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SpoolDetail {
    accepting: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    refuses_because: Option<&'static str>,
    #[serde(flatten)]
    usage: SpoolState,
    capacity_left: u64,
    capacity_whole: u64,
    events_per_second: Option<f64>,
    over_seconds: f64,
    fills_bytes_per_second: Option<f64>,
    seconds_to_full: Option<u64>,
    fdatasync_ms: TakesMillis,
    disk_outstanding_ms: u64,
    corrupt_records: u64,
    torn_tails: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    no_room: Option<Shortage>,
}

pub(super) async fn spool(State(admin): State<AdminState>) -> Result<Json<SpoolDetail>, ProblemAnswer> {
    let opened = admin.opened()?;
    let observed = observed(&admin).await?;
    let (capacity, refuses) = (opened.spool.capacity(), opened.spool.accepting().err());
    let fills = observed.rates.falls_per_second(CAPACITY_LEFT);
    let (readings, rates) = (&observed.readings, &observed.rates);
    Ok(Json(SpoolDetail {
        accepting: refuses.is_none(),
        refuses_because: refuses,
        usage: opened.spool.usage().into(),
        capacity_left: capacity.left,
        capacity_whole: capacity.whole,
        events_per_second: rates.rises_per_second(LOG_HEAD).map(rounded),
        over_seconds: rounded(rates.seconds()),
        fills_bytes_per_second: fills.map(rounded),
        seconds_to_full: fills.map(|fills| (capacity.left as f64 / fills) as u64),
        fdatasync_ms: TakesMillis::of(readings, "spool_fsync_duration_seconds", &[]),
        disk_outstanding_ms: millis(probes::outstanding(opened).unwrap_or_default()),
        corrupt_records: readings.count("spool_corrupt_records_total", &[]),
        torn_tails: readings.count("spool_torn_tails_total", &[]),
        no_room: opened.state.shortage(),
    }))
}
