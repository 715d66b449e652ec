//! Alerts about what goes out.

use super::{AlertCase, AlertRow, AlertSeverity};

pub(super) const SINKS: &[AlertRow] = &[
    AlertRow {
        name: "FanbridgeSinkDegraded",
        // A paused sink tries nothing, and so does not learn that its trouble is over.
        expr: "fanbridge_sink_degraded == 1 unless on (instance, sink) fanbridge_sink_paused == 1",
        hold: "5m",
        severity: AlertSeverity::Warning,
        summary: "sink {{ $labels.sink }} is degraded",
        advice: "`/readyz` says what the cluster or the topic answers; the [runbook](#runbook) has a row for \
                 each reason, and `fanbridge doctor` a command",
        fires: AlertCase {
            series: &[
                (r#"fanbridge_sink_degraded{sink="lake",instance="i"}"#, "1x20"),
                (r#"fanbridge_sink_paused{sink="lake",instance="i"}"#, "0x20"),
            ],
            at: "10m",
            labels: &[("sink", "lake"), ("instance", "i")],
        },
        silent: &[
            (r#"fanbridge_sink_degraded{sink="lake",instance="i"}"#, "1x20"),
            (r#"fanbridge_sink_paused{sink="lake",instance="i"}"#, "1x20"),
        ],
    },
    AlertRow {
        name: "FanbridgeSinkBehind",
        expr: "fanbridge_sink_oldest_pending_seconds > 300 unless on (instance, sink) \
             fanbridge_sink_paused == 1",
        hold: "5m",
        severity: AlertSeverity::Warning,
        summary: "the oldest event that sink {{ $labels.sink }} has not got has waited for more than five \
             minutes",
        advice: "`fanbridge top` shows whether it catches up; if not, `fanbridge doctor`. Nothing is lost \
             while \
                 the spool has room",
        fires: AlertCase {
            series: &[(r#"fanbridge_sink_oldest_pending_seconds{sink="lake",instance="i"}"#, "0+60x30")],
            at: "20m",
            labels: &[("sink", "lake"), ("instance", "i")],
        },
        silent: &[
            (r#"fanbridge_sink_oldest_pending_seconds{sink="lake",instance="i"}"#, "0+60x30"),
            (r#"fanbridge_sink_paused{sink="lake",instance="i"}"#, "1x30"),
        ],
    },
    AlertRow {
        name: "FanbridgeSinkPaused",
        expr: "fanbridge_sink_paused == 1",
        hold: "12h",
        severity: AlertSeverity::Warning,
        summary: "sink {{ $labels.sink }} has been paused for half a day",
        advice: "`/readyz` says by what reason; `fanbridge resume SINK` if it was forgotten",
        fires: AlertCase {
            series: &[(r#"fanbridge_sink_paused{sink="lake"}"#, "1x800")],
            at: "13h",
            labels: &[("sink", "lake")],
        },
        silent: &[(r#"fanbridge_sink_paused{sink="lake"}"#, "1x300 0x500")],
    },
    AlertRow {
        name: "FanbridgeDeadLetters",
        expr: "sum by (instance, sink, reason) (fanbridge_dead_letters_kept) > 0",
        hold: "1m",
        severity: AlertSeverity::Warning,
        summary: "dead letters of {{ $labels.sink }} are kept: {{ $labels.reason }}",
        advice: "`fanbridge dead groups` shows the causes; mend one, then `fanbridge dead redrive --group`",
        fires: AlertCase {
            series: &[(
                r#"fanbridge_dead_letters_kept{sink="lake",reason="too_large",instance="i"}"#,
                "3x20",
            )],
            at: "10m",
            labels: &[("sink", "lake"), ("reason", "too_large"), ("instance", "i")],
        },
        silent: &[(r#"fanbridge_dead_letters_kept{sink="lake",reason="too_large",instance="i"}"#, "0x20")],
    },
    AlertRow {
        name: "FanbridgeSinkMissedEvents",
        expr: "increase(fanbridge_sink_missed_records_total[15m]) > 0",
        hold: "0m",
        severity: AlertSeverity::Critical,
        summary: "sink {{ $labels.sink }} has missed events that were no longer in the log",
        advice: "they were damaged, expired, or pruned for `on_full: detach_sink`; `fanbridge explain` says \
                 which of an event. Have the provider send them again",
        fires: AlertCase {
            series: &[(r#"fanbridge_sink_missed_records_total{sink="lake"}"#, "0x5 4x20")],
            at: "10m",
            labels: &[("sink", "lake")],
        },
        silent: &[(r#"fanbridge_sink_missed_records_total{sink="lake"}"#, "4x20")],
    },
    AlertRow {
        name: "FanbridgeAnswersLate",
        expr: "increase(fanbridge_ack_late_total[10m]) > 0",
        hold: "0m",
        severity: AlertSeverity::Warning,
        summary: "deliveries were answered 503, because sink {{ $labels.sink }} had not accepted them in \
             time",
        advice: "mend the sink, or take events in without it: `ack: { after: [] }`. They are stored, and \
                 delivered later",
        fires: AlertCase {
            series: &[(r#"fanbridge_ack_late_total{sink="lake"}"#, "0x5 9x20")],
            at: "10m",
            labels: &[("sink", "lake")],
        },
        silent: &[(r#"fanbridge_ack_late_total{sink="lake"}"#, "9x20")],
    },
];
