//! The metrics for Prometheus. Values that are not counted as they change are read here.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::response::IntoResponse;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

use super::{AdminState, ProblemAnswer, probes};
use crate::state::DeadCount;
use crate::telemetry::{Exposition, Metrics, SinkReason, lines_dropped};

pub(super) async fn metrics(
    State(admin): State<AdminState>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ProblemAnswer> {
    if let Some(opened) = admin.opened.get() {
        let out = probes::outstanding(opened).unwrap_or_default();
        admin.metrics.disk_outstanding.set(out.as_secs_f64());
    }
    // A query of a disk that hangs would hang too.
    let kept = match admin.opened.get().is_some_and(|opened| probes::hangs(opened).is_none()) {
        // If the state file cannot be read, the other metrics are still shown.
        true => admin.ask(|state| Ok((state.dead_letter_counts()?, state.file_bytes()?))).await.ok(),
        false => None,
    };
    let format =
        Exposition::asked_for(headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()));
    let _whole = admin.scrape.lock();
    if let Some((counts, bytes)) = kept {
        note_dead_letters(&admin.metrics, counts);
        admin.metrics.state_bytes.set(gauge(bytes));
    }
    admin.metrics.log_lines_dropped.inner().store(lines_dropped(), Ordering::Relaxed);
    Ok(([(CONTENT_TYPE, format.content_type())], admin.metrics.expose(format)))
}

fn note_dead_letters(metrics: &Metrics, counts: Vec<DeadCount>) {
    metrics.dead_letters_bytes.set(gauge(counts.iter().map(|count| count.bytes).sum()));
    // Removes series whose last dead letter is gone.
    metrics.dead_letters_kept.clear();
    for DeadCount { sink, reason, count, .. } in counts {
        let sink = sink.unwrap_or_else(|| "quarantine".into());
        metrics.dead_letters_kept.get_or_create(&SinkReason { sink, reason }).set(gauge(count));
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
