//! Alerts about the process, its configuration, its disk and its space.

use super::{AlertCase, AlertRow, AlertSeverity};

pub(super) const DISK: &[AlertRow] = &[
    AlertRow {
        name: "FanbridgeAbsent",
        expr: "absent(fanbridge_build_info)",
        hold: "5m",
        severity: AlertSeverity::Critical,
        summary: "no bridge is scraped",
        advice: "see whether the process runs (its exit code and last log line say why it ended), \
                 whether Prometheus can reach its admin listener, and what its target says: 401 is \
                 another token than the bridge read at its start",
        fires: AlertCase { series: &[(r#"up{job="fanbridge"}"#, "0x20")], at: "10m", labels: &[] },
        silent: &[(r#"fanbridge_build_info{version="1"}"#, "1x20")],
    },
    AlertRow {
        name: "FanbridgeReplicaAbsent",
        // The median of a day, so neither an update nor a short outage counts as how many there should be. A
        // job of which nothing is left is absent, too, while another job's bridges are there.
        expr: "quantile_over_time(0.5, count by (namespace, job) (fanbridge_build_info)[1d:10m]) unless \
               count by (namespace, job) (fanbridge_build_info) >= \
               quantile_over_time(0.5, count by (namespace, job) (fanbridge_build_info)[1d:10m])",
        hold: "15m",
        severity: AlertSeverity::Warning,
        summary: "fewer bridges of job {{ $labels.job }} are scraped than in most of the last day",
        advice: "find the one that is away and bring it back: events that wait on its disk are delivered by \
                 it alone. After an intended scale-in the alert ends by itself within half a day: silence it \
                 until then",
        fires: AlertCase {
            series: &[
                (r#"fanbridge_build_info{version="1",job="j",instance="a"}"#, "1x1500"),
                (r#"fanbridge_build_info{version="1",job="j",instance="b"}"#, "1x1500"),
                (r#"fanbridge_build_info{version="1",job="j",instance="c"}"#, "1x1480 stale"),
            ],
            at: "25h",
            labels: &[("job", "j")],
        },
        silent: &[
            // An update goes from one to the next.
            (r#"fanbridge_build_info{version="1",job="updated",instance="a"}"#, "1x1485 stale"),
            (r#"fanbridge_build_info{version="2",job="updated",instance="a"}"#, "_x1488 1x20"),
            (r#"fanbridge_build_info{version="1",job="updated",instance="b"}"#, "1x1490 stale"),
            (r#"fanbridge_build_info{version="2",job="updated",instance="b"}"#, "_x1493 1x20"),
            (r#"fanbridge_build_info{version="1",job="updated",instance="c"}"#, "1x1495 stale"),
            // One was taken away half a day ago, and one was added.
            (r#"fanbridge_build_info{version="1",job="shrunk",instance="a"}"#, "1x1500"),
            (r#"fanbridge_build_info{version="1",job="shrunk",instance="b"}"#, "1x750 stale"),
            (r#"fanbridge_build_info{version="1",job="grown",instance="a"}"#, "1x1500"),
            (r#"fanbridge_build_info{version="1",job="grown",instance="b"}"#, "_x1400 1x100"),
        ],
    },
    AlertRow {
        name: "FanbridgeSpoolFillsUp",
        expr: "(fanbridge_spool_bytes + fanbridge_state_bytes) / fanbridge_spool_limit_bytes > 0.8 and on \
             (instance) \
               max by (instance) (fanbridge_sink_oldest_pending_seconds) > 60",
        hold: "5m",
        severity: AlertSeverity::Critical,
        summary: "the spool is nearly full of events that a sink has not got",
        advice: "mend the sink that is behind, before deliveries are refused; raise `spool.bytes_max` if the \
                 disk has room. `/api/v1/spool` says how long it lasts",
        fires: AlertCase {
            series: &[
                (r#"fanbridge_spool_bytes{instance="i"}"#, "900x20"),
                (r#"fanbridge_state_bytes{instance="i"}"#, "1x20"),
                (r#"fanbridge_spool_limit_bytes{instance="i"}"#, "1000x20"),
                (r#"fanbridge_sink_oldest_pending_seconds{sink="lake",instance="i"}"#, "100x20"),
            ],
            at: "10m",
            labels: &[("instance", "i")],
        },
        // Full of events that every sink has got.
        silent: &[
            (r#"fanbridge_spool_bytes{instance="i"}"#, "900x20"),
            (r#"fanbridge_state_bytes{instance="i"}"#, "1x20"),
            (r#"fanbridge_spool_limit_bytes{instance="i"}"#, "1000x20"),
            (r#"fanbridge_sink_oldest_pending_seconds{sink="lake",instance="i"}"#, "0x20"),
        ],
    },
    AlertRow {
        name: "FanbridgeDiskHangs",
        expr: "fanbridge_spool_disk_outstanding_seconds > 5",
        hold: "1m",
        severity: AlertSeverity::Critical,
        summary: "the disk under the spool has not answered for more than 5 s",
        advice: "look at the disk; the bridge goes on by itself once it answers, and acknowledges nothing \
             meanwhile",
        fires: AlertCase {
            series: &[("fanbridge_spool_disk_outstanding_seconds", "0+60x20")],
            at: "10m",
            labels: &[],
        },
        silent: &[("fanbridge_spool_disk_outstanding_seconds", "0.1x20")],
    },
    AlertRow {
        name: "FanbridgeDiskSlow",
        expr: "histogram_quantile(0.99, sum by (instance, le) \
               (rate(fanbridge_spool_fsync_duration_seconds_bucket[10m]))) > 0.5",
        hold: "10m",
        severity: AlertSeverity::Warning,
        summary: "one fdatasync in a hundred takes more than half a second",
        advice: "the disk is slow or shared; every answer waits for one. `fanbridge doctor` measures it",
        fires: AlertCase {
            series: &[
                (r#"fanbridge_spool_fsync_duration_seconds_bucket{le="0.8",instance="i"}"#, "0+1x40"),
                (r#"fanbridge_spool_fsync_duration_seconds_bucket{le="1.6",instance="i"}"#, "0+60x40"),
                (r#"fanbridge_spool_fsync_duration_seconds_bucket{le="+Inf",instance="i"}"#, "0+60x40"),
            ],
            at: "30m",
            labels: &[("instance", "i")],
        },
        silent: &[
            (r#"fanbridge_spool_fsync_duration_seconds_bucket{le="0.01",instance="i"}"#, "0+60x40"),
            (r#"fanbridge_spool_fsync_duration_seconds_bucket{le="+Inf",instance="i"}"#, "0+60x40"),
        ],
    },
    AlertRow {
        name: "FanbridgeLogDamaged",
        expr: "fanbridge_spool_corrupt_records_total > 0",
        hold: "0m",
        severity: AlertSeverity::Critical,
        summary: "entries of the log are damaged",
        advice: "stop the bridge, run `fanbridge spool verify`, and look at the disk",
        fires: AlertCase {
            series: &[("fanbridge_spool_corrupt_records_total", "0x5 1x20")],
            at: "10m",
            labels: &[],
        },
        silent: &[("fanbridge_spool_corrupt_records_total", "0x20")],
    },
    AlertRow {
        name: "FanbridgeStateNoRoom",
        expr: "increase(fanbridge_state_no_room_total[10m]) > 0",
        hold: "0m",
        severity: AlertSeverity::Critical,
        summary: "the state file cannot be written, because its disk is full",
        advice: "make room: it goes on by itself. A stop before that repeats what was delivered meanwhile",
        fires: AlertCase { series: &[("fanbridge_state_no_room_total", "0x5 2x20")], at: "10m", labels: &[] },
        silent: &[("fanbridge_state_no_room_total", "2x20")],
    },
    AlertRow {
        name: "FanbridgeReloadRefused",
        expr: "fanbridge_config_reload_refused == 1",
        hold: "5m",
        severity: AlertSeverity::Warning,
        summary: "the configuration file was changed and is not what the bridge runs with",
        advice: "the log has the line; `fanbridge reload --dry-run` says the same again. Mend the file and \
                 reload it, or restart if a value needs that",
        fires: AlertCase {
            series: &[("fanbridge_config_reload_refused", "0x2 1x20")],
            at: "10m",
            labels: &[],
        },
        silent: &[("fanbridge_config_reload_refused", "0x20")],
    },
];
