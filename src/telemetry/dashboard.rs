//! The dashboard for Grafana, from the metrics of the table.

use serde_json::{Value, json};

/// Width of the grid that Grafana lays panels out on, and the size of a panel.
const GRID_COLUMNS: usize = 24;
const PANEL_COLUMNS: usize = 8;
const PANEL_ROWS: usize = 8;
/// The series of the instances that were chosen.
const CHOSEN: &str = r#"{instance=~"$instance"}"#;

/// How a metric is asked for.
#[derive(Clone, Copy)]
enum Ask {
    /// How often a second.
    Rate,
    /// How often between two points.
    Increase,
    /// What half of the values are below, and what 99 of 100 are.
    P50,
    P99,
    /// The largest, and the sum.
    Max,
    Sum,
}

/// One query: how, of which metric, by which labels, and what its lines are called.
type PanelQuery = (Ask, &'static str, &'static str, &'static str);

/// One panel: its title, its unit as Grafana names it, and its queries.
type Panel = (&'static str, &'static str, &'static [PanelQuery]);

const ROWS: &[(&str, &[Panel])] =
    &[("Deliveries", DELIVERIES), ("Sinks", SINKS), ("Spool and disk", DISK), ("Queues", QUEUES)];

const DELIVERIES: &[Panel] = &[
    ("Deliveries by verdict", "ops", &[(Ask::Rate, "events_total", "verdict", "{{verdict}}")]),
    ("Refusals by reason", "ops", &[(Ask::Rate, "refused_total", "source, reason", "{{source}} {{reason}}")]),
    (
        "Time until an answer",
        "s",
        &[(Ask::P50, "ack_duration_seconds", "", "p50"), (Ask::P99, "ack_duration_seconds", "", "p99")],
    ),
    ("Deliveries by family", "ops", &[(Ask::Rate, "events_total", "family", "{{family}}")]),
    ("Answers by status", "ops", &[(Ask::Rate, "requests_total", "code", "{{code}}")]),
    ("Clocks of senders", "s", &[(Ask::Max, "clock_skew_seconds", "source", "{{source}}")]),
];

const SINKS: &[Panel] = &[
    ("Delivered", "ops", &[(Ask::Rate, "delivered_total", "sink", "{{sink}}")]),
    (
        "Age of the oldest event that a sink has not got",
        "s",
        &[(Ask::Max, "sink_oldest_pending_seconds", "sink", "{{sink}}")],
    ),
    ("From arrival to the sink, p99", "s", &[(Ask::P99, "delivery_duration_seconds", "sink", "{{sink}}")]),
    ("Records behind", "short", &[(Ask::Max, "sink_lag_events", "sink", "{{sink}}")]),
    ("Tried again", "ops", &[(Ask::Rate, "sink_retries_total", "sink, reason", "{{sink}} {{reason}}")]),
    (
        "Degraded, paused",
        "short",
        &[
            (Ask::Max, "sink_degraded", "sink", "{{sink}} degraded"),
            (Ask::Max, "sink_paused", "sink", "{{sink}} paused"),
        ],
    ),
    ("Dead letters kept", "short", &[(Ask::Sum, "dead_letters_kept", "sink, reason", "{{sink}} {{reason}}")]),
    (
        "Missed, perhaps twice",
        "short",
        &[
            (Ask::Increase, "sink_missed_records_total", "sink", "{{sink}} missed"),
            (Ask::Increase, "possible_duplicates_total", "sink", "{{sink}} perhaps twice"),
        ],
    ),
    (
        "Replays",
        "short",
        &[
            (Ask::Increase, "replayed_total", "sink", "{{sink}} replayed"),
            (Ask::Max, "replay_pending", "sink", "{{sink}} to look through"),
        ],
    ),
];

const DISK: &[Panel] = &[
    (
        "Space",
        "bytes",
        &[
            (Ask::Max, "spool_bytes", "instance", "{{instance}} spool"),
            (Ask::Max, "state_bytes", "instance", "{{instance}} state"),
            (Ask::Max, "spool_limit_bytes", "instance", "{{instance}} limit"),
        ],
    ),
    (
        "Time of an fdatasync",
        "s",
        &[
            (Ask::P50, "spool_fsync_duration_seconds", "", "p50"),
            (Ask::P99, "spool_fsync_duration_seconds", "", "p99"),
        ],
    ),
    (
        "Disk has not answered for",
        "s",
        &[(Ask::Max, "spool_disk_outstanding_seconds", "instance", "{{instance}}")],
    ),
    (
        "Connections",
        "short",
        &[
            (Ask::Sum, "connections", "listener", "{{listener}}"),
            (Ask::Increase, "connections_refused_total", "reason", "refused: {{reason}}"),
        ],
    ),
    (
        "Answers that wait for a sink",
        "short",
        &[
            (Ask::Sum, "ack_waiting", "sink", "{{sink}} waiting"),
            (Ask::Increase, "ack_late_total", "sink", "{{sink}} late"),
        ],
    ),
    ("Versions", "short", &[(Ask::Sum, "build_info", "version", "{{version}}")]),
];

const QUEUES: &[Panel] = &[
    (
        "Messages",
        "ops",
        &[
            (Ask::Rate, "sqs_messages_received_total", "source", "{{source}} received"),
            (Ask::Rate, "sqs_messages_deleted_total", "source", "{{source}} deleted"),
        ],
    ),
    (
        "Calls that failed",
        "ops",
        &[(Ask::Rate, "sqs_errors_total", "source, reason", "{{source}} {{reason}}")],
    ),
    (
        "Age of a message until it is durable, p99",
        "s",
        &[(Ask::P99, "sqs_message_age_seconds", "source", "{{source}}")],
    ),
];

impl Ask {
    /// The question in PromQL.
    fn expression(self, metric: &str, labels: &str) -> String {
        let series = format!("fanbridge_{metric}{CHOSEN}");
        let quantile = |share: &str| {
            let labels = if labels.is_empty() { "le".to_owned() } else { format!("{labels}, le") };
            let buckets = format!("rate(fanbridge_{metric}_bucket{CHOSEN}[$__rate_interval])");
            format!("histogram_quantile({share}, sum by ({labels}) ({buckets}))")
        };
        match self {
            Self::Rate => format!("sum by ({labels}) (rate({series}[$__rate_interval]))"),
            Self::Increase => format!("sum by ({labels}) (increase({series}[$__rate_interval]))"),
            Self::P50 => quantile("0.5"),
            Self::P99 => quantile("0.99"),
            Self::Max => format!("max by ({labels}) ({series})"),
            Self::Sum => format!("sum by ({labels}) ({series})"),
        }
    }
}

/// The dashboard as Grafana imports it.
pub fn dashboard() -> Value {
    let (mut panels, mut y, mut id) = (Vec::new(), 0, 0);
    for (title, row) in ROWS {
        id += 1;
        let place = json!({ "h": 1, "w": GRID_COLUMNS, "x": 0, "y": y });
        panels.push(json!({
            "id": id, "type": "row", "title": title, "collapsed": false, "gridPos": place, "panels": [],
        }));
        y += 1;
        for (number, shown) in row.iter().enumerate() {
            id += 1;
            let x = number * PANEL_COLUMNS % GRID_COLUMNS;
            let below = number * PANEL_COLUMNS / GRID_COLUMNS * PANEL_ROWS;
            let place = json!({ "h": PANEL_ROWS, "w": PANEL_COLUMNS, "x": x, "y": y + below });
            panels.push(panel(shown, id, place));
        }
        y += row.len().div_ceil(GRID_COLUMNS / PANEL_COLUMNS) * PANEL_ROWS;
    }
    json!({
        "title": "fanbridge", "uid": "fanbridge", "tags": ["fanbridge"], "schemaVersion": 39, "version": 1,
        "editable": true, "refresh": "30s", "timezone": "utc", "time": { "from": "now-3h", "to": "now" },
        "templating": { "list": [
            { "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus" },
            {
                "name": "instance", "type": "query", "datasource": source(), "refresh": 2,
                "query": "label_values(fanbridge_build_info, instance)",
                "includeAll": true, "multi": true, "allValue": ".*",
                "current": { "text": "All", "value": "$__all" },
            },
        ] },
        "panels": panels,
    })
}

fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn panel((title, unit, queries): &Panel, id: usize, place: Value) -> Value {
    let target = |((ask, metric, labels, legend), name): (&PanelQuery, char)| {
        let expr = ask.expression(metric, labels);
        json!({ "refId": name, "expr": expr, "legendFormat": legend, "datasource": source() })
    };
    let targets: Vec<Value> = queries.iter().zip('A'..).map(target).collect();
    json!({
        "id": id, "type": "timeseries", "title": title, "datasource": source(), "gridPos": place,
        "fieldConfig": {
            "defaults": { "unit": unit, "custom": { "fillOpacity": 10, "showPoints": "never" } },
            "overrides": [],
        },
        "options": {
            "legend": { "displayMode": "list", "placement": "bottom" }, "tooltip": { "mode": "multi" },
        },
        "targets": targets,
    })
}
