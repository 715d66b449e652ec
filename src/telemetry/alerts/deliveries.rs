//! Alerts about what comes in.

use super::{AlertCase, AlertRow, AlertSeverity};

pub(super) const DELIVERIES: &[AlertRow] = &[
    AlertRow {
        name: "FanbridgeRefuses",
        expr: r#"sum by (instance, source) (rate(fanbridge_requests_total{code="503"}[5m])) > 0"#,
        hold: "5m",
        severity: AlertSeverity::Critical,
        summary: "deliveries to source {{ $labels.source }} are answered 503",
        advice: "`/readyz` and `fanbridge doctor` say what is missing: space, the disk, or a sink that \
                 `ack.after` names. Providers send such deliveries again, for hours at most",
        fires: AlertCase {
            series: &[(r#"fanbridge_requests_total{source="a",code="503",instance="i"}"#, "0+6x20")],
            at: "15m",
            labels: &[("source", "a"), ("instance", "i")],
        },
        silent: &[
            (r#"fanbridge_requests_total{source="a",code="200",instance="i"}"#, "0+6x20"),
            (r#"fanbridge_requests_total{source="a",code="503",instance="i"}"#, "7x20"),
        ],
    },
    AlertRow {
        name: "FanbridgeAnswersSlowly",
        expr: "histogram_quantile(0.99, sum by (instance, source, le) \
               (rate(fanbridge_ack_duration_seconds_bucket[10m]))) > 3",
        hold: "10m",
        severity: AlertSeverity::Warning,
        summary: "one in a hundred deliveries to source {{ $labels.source }} is answered after more than 3 s",
        advice: "providers give up after seconds and send again: look at `spool_fsync_duration_seconds`, and \
                 at the sinks that `ack.after` names",
        fires: AlertCase {
            series: &[
                (r#"fanbridge_ack_duration_seconds_bucket{source="a",le="3.3",instance="i"}"#, "0+1x40"),
                (r#"fanbridge_ack_duration_seconds_bucket{source="a",le="6.6",instance="i"}"#, "0+60x40"),
                (r#"fanbridge_ack_duration_seconds_bucket{source="a",le="+Inf",instance="i"}"#, "0+60x40"),
            ],
            at: "30m",
            labels: &[("source", "a"), ("instance", "i")],
        },
        silent: &[
            (r#"fanbridge_ack_duration_seconds_bucket{source="a",le="0.01",instance="i"}"#, "0+60x40"),
            (r#"fanbridge_ack_duration_seconds_bucket{source="a",le="+Inf",instance="i"}"#, "0+60x40"),
        ],
    },
    AlertRow {
        name: "FanbridgeSignaturesFail",
        expr: "sum by (instance, source) \
             (rate(fanbridge_refused_total{reason=~\"wrong_signature|missing_signature|\
               no_live_secret|no_secret\"}[10m])) > 0.1 * sum by (instance, source) \
               (rate(fanbridge_requests_total[10m]))",
        hold: "10m",
        severity: AlertSeverity::Warning,
        summary: "more than a tenth of the requests to source {{ $labels.source }} have no valid signature",
        advice: "a secret was rotated, a proxy changes bodies, or strangers knock: record a delivery and run \
                 `fanbridge verify`",
        fires: AlertCase {
            series: &[
                (r#"fanbridge_refused_total{source="a",reason="wrong_signature",instance="i"}"#, "0+30x40"),
                (r#"fanbridge_requests_total{source="a",code="401",instance="i"}"#, "0+30x40"),
            ],
            at: "30m",
            labels: &[("source", "a"), ("instance", "i")],
        },
        silent: &[
            (r#"fanbridge_refused_total{source="a",reason="wrong_signature",instance="i"}"#, "0+1x40"),
            (r#"fanbridge_requests_total{source="a",code="401",instance="i"}"#, "0+1x40"),
            (r#"fanbridge_requests_total{source="a",code="200",instance="i"}"#, "0+99x40"),
        ],
    },
    AlertRow {
        name: "FanbridgeProviderSilent",
        expr: "sum by (instance, source) (increase(fanbridge_events_total[1h])) == 0 and \
               sum by (instance, source) (increase(fanbridge_events_total[1h] offset 1d)) > 0",
        hold: "30m",
        severity: AlertSeverity::Warning,
        summary: "source {{ $labels.source }} has had no delivery for an hour; yesterday at this time it had",
        advice: "ask the provider's dashboard whether it sends and what it is answered; `refused_total` has \
                 what was refused",
        fires: AlertCase {
            series: &[(
                r#"fanbridge_events_total{source="a",family="f",verdict="accepted",instance="i"}"#,
                "0+6x1400 8400x300",
            )],
            at: "26h",
            labels: &[("source", "a"), ("instance", "i")],
        },
        silent: &[(
            r#"fanbridge_events_total{source="a",family="f",verdict="accepted",instance="i"}"#,
            "0+6x1700",
        )],
    },
    AlertRow {
        name: "FanbridgeSourceDegraded",
        expr: "fanbridge_source_degraded == 1",
        hold: "5m",
        severity: AlertSeverity::Warning,
        summary: "source {{ $labels.source }} has trouble with its queue",
        advice: "`/readyz` and the log say which call fails, and why: credentials, a permission, the \
             queue's URL",
        fires: AlertCase {
            series: &[(r#"fanbridge_source_degraded{source="a"}"#, "1x20")],
            at: "10m",
            labels: &[("source", "a")],
        },
        silent: &[(r#"fanbridge_source_degraded{source="a"}"#, "1x3 0x20")],
    },
    AlertRow {
        name: "FanbridgeSecretUnreadable",
        expr: "increase(fanbridge_secret_reload_failures_total[15m]) > 0",
        hold: "0m",
        severity: AlertSeverity::Warning,
        summary: "the secret {{ $labels.secret }} of source {{ $labels.source }} cannot be read again",
        advice: "the secret before stays in use; mend the file before the provider signs with the new one",
        fires: AlertCase {
            series: &[(r#"fanbridge_secret_reload_failures_total{source="a",secret="file:s"}"#, "0x5 3x20")],
            at: "10m",
            labels: &[("source", "a"), ("secret", "file:s")],
        },
        silent: &[(r#"fanbridge_secret_reload_failures_total{source="a",secret="file:s"}"#, "3x20")],
    },
    AlertRow {
        name: "FanbridgeClockSkew",
        expr: "abs(fanbridge_clock_skew_seconds) > 60",
        hold: "15m",
        severity: AlertSeverity::Warning,
        summary: "the clock of who sends to source {{ $labels.source }} differs from this one by more than \
             a minute",
        advice: "mend NTP here before deliveries are refused as too old",
        fires: AlertCase {
            series: &[(r#"fanbridge_clock_skew_seconds{source="a"}"#, "-90x40")],
            at: "30m",
            labels: &[("source", "a")],
        },
        silent: &[(r#"fanbridge_clock_skew_seconds{source="a"}"#, "-2x40")],
    },
    AlertRow {
        name: "FanbridgeSubscriptionEnded",
        expr: "increase(fanbridge_sns_subscriptions_total{outcome=~\"failed|refused|ended\"}[1h]) > 0",
        hold: "0m",
        severity: AlertSeverity::Warning,
        summary: "a subscription of SNS to source {{ $labels.source }} has {{ $labels.outcome }}",
        advice: "the log names the topic; subscribe it again if it is wanted",
        fires: AlertCase {
            series: &[(r#"fanbridge_sns_subscriptions_total{source="a",outcome="ended"}"#, "0x5 1x20")],
            at: "10m",
            labels: &[("source", "a"), ("outcome", "ended")],
        },
        silent: &[(r#"fanbridge_sns_subscriptions_total{source="a",outcome="confirmed"}"#, "0x5 1x20")],
    },
    AlertRow {
        name: "FanbridgeSharedWindowDegraded",
        expr: "fanbridge_shared_window_degraded == 1",
        hold: "10m",
        severity: AlertSeverity::Warning,
        summary: "the duplicate window that replicas share cannot be used",
        advice: "look at its Redis. Nothing is refused; each replica recognises only its own duplicates",
        fires: AlertCase { series: &[("fanbridge_shared_window_degraded", "1x20")], at: "15m", labels: &[] },
        silent: &[("fanbridge_shared_window_degraded", "0x20")],
    },
];
