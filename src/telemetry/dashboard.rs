//! The dashboard for Grafana, from the metrics of the table.

use serde_json::{Value, json};

/// Width of the grid that Grafana lays panels out on, and the size of a panel.
const GRID_COLUMNS: usize = 24;
const PANEL_COLUMNS: usize = 8;
const PANEL_ROWS: usize = 8;
/// The labels by which every query is narrowed.
const CHOSEN: &str = r#"instance=~"$instance""#;

/// One panel: its title, its unit as Grafana names it, and its queries, each with what its lines are called.
/// `$chosen` stands for the instances that were chosen.
struct Panel {
    title: &'static str,
    unit: &'static str,
    queries: &'static [(&'static str, &'static str)],
}

const fn panel(
    title: &'static str,
    unit: &'static str,
    queries: &'static [(&'static str, &'static str)],
) -> Panel {
    Panel { title, unit, queries }
}

const ROWS: &[(&str, &[Panel])] = &[
    (
        "Deliveries",
        &[
            panel(
                "Deliveries by verdict",
                "ops",
                &[(
                    "sum by (verdict) (rate(fanbridge_events_total{$chosen}[$__rate_interval]))",
                    "{{verdict}}",
                )],
            ),
            panel(
                "Refusals by reason",
                "ops",
                &[(
                    "sum by (source, reason) (rate(fanbridge_refused_total{$chosen}[$__rate_interval]))",
                    "{{source}} {{reason}}",
                )],
            ),
            panel(
                "Time until an answer",
                "s",
                &[
                    (
                        "histogram_quantile(0.5, sum by (le) (rate(fanbridge_ack_duration_seconds_bucket{$chosen}[$__rate_interval])))",
                        "p50",
                    ),
                    (
                        "histogram_quantile(0.99, sum by (le) (rate(fanbridge_ack_duration_seconds_bucket{$chosen}[$__rate_interval])))",
                        "p99",
                    ),
                ],
            ),
            panel(
                "Accepted by family",
                "ops",
                &[(
                    "sum by (family) (rate(fanbridge_events_total{$chosen,verdict=\"accepted\"}[$__rate_interval]))",
                    "{{family}}",
                )],
            ),
            panel(
                "Answers by status",
                "ops",
                &[("sum by (code) (rate(fanbridge_requests_total{$chosen}[$__rate_interval]))", "{{code}}")],
            ),
            panel("Clocks of senders", "s", &[("fanbridge_clock_skew_seconds{$chosen}", "{{source}}")]),
        ],
    ),
    (
        "Sinks",
        &[
            panel(
                "Delivered",
                "ops",
                &[("sum by (sink) (rate(fanbridge_delivered_total{$chosen}[$__rate_interval]))", "{{sink}}")],
            ),
            panel(
                "Age of the oldest event that a sink has not got",
                "s",
                &[("max by (sink) (fanbridge_sink_oldest_pending_seconds{$chosen})", "{{sink}}")],
            ),
            panel(
                "From arrival to the sink, p99",
                "s",
                &[(
                    "histogram_quantile(0.99, sum by (sink, le) (rate(fanbridge_delivery_duration_seconds_bucket{$chosen}[$__rate_interval])))",
                    "{{sink}}",
                )],
            ),
            panel(
                "Records behind",
                "short",
                &[("max by (sink) (fanbridge_sink_lag_events{$chosen})", "{{sink}}")],
            ),
            panel(
                "Tried again",
                "ops",
                &[(
                    "sum by (sink, reason) (rate(fanbridge_sink_retries_total{$chosen}[$__rate_interval]))",
                    "{{sink}} {{reason}}",
                )],
            ),
            panel(
                "Degraded, paused",
                "short",
                &[
                    ("max by (sink) (fanbridge_sink_degraded{$chosen})", "{{sink}} degraded"),
                    ("max by (sink) (fanbridge_sink_paused{$chosen})", "{{sink}} paused"),
                ],
            ),
            panel(
                "Dead letters kept",
                "short",
                &[("sum by (sink, reason) (fanbridge_dead_letters_kept{$chosen})", "{{sink}} {{reason}}")],
            ),
            panel(
                "Missed, perhaps twice",
                "short",
                &[
                    (
                        "sum by (sink) (increase(fanbridge_sink_missed_records_total{$chosen}[$__rate_interval]))",
                        "{{sink}} missed",
                    ),
                    (
                        "sum by (sink) (increase(fanbridge_possible_duplicates_total{$chosen}[$__rate_interval]))",
                        "{{sink}} perhaps twice",
                    ),
                ],
            ),
            panel(
                "Answers that wait for a sink",
                "short",
                &[
                    ("sum by (sink) (fanbridge_ack_waiting{$chosen})", "{{sink}} waiting"),
                    (
                        "sum by (sink) (increase(fanbridge_ack_late_total{$chosen}[$__rate_interval]))",
                        "{{sink}} late",
                    ),
                ],
            ),
        ],
    ),
    (
        "Spool and disk",
        &[
            panel(
                "Space",
                "bytes",
                &[
                    ("fanbridge_spool_bytes{$chosen} + fanbridge_state_bytes{$chosen}", "{{instance}} used"),
                    ("fanbridge_spool_limit_bytes{$chosen}", "{{instance}} limit"),
                ],
            ),
            panel(
                "Time of an fdatasync",
                "s",
                &[
                    (
                        "histogram_quantile(0.5, sum by (le) (rate(fanbridge_spool_fsync_duration_seconds_bucket{$chosen}[$__rate_interval])))",
                        "p50",
                    ),
                    (
                        "histogram_quantile(0.99, sum by (le) (rate(fanbridge_spool_fsync_duration_seconds_bucket{$chosen}[$__rate_interval])))",
                        "p99",
                    ),
                ],
            ),
            panel(
                "Disk has not answered for",
                "s",
                &[("fanbridge_spool_disk_outstanding_seconds{$chosen}", "{{instance}}")],
            ),
            panel(
                "Connections",
                "short",
                &[
                    ("sum by (listener) (fanbridge_connections{$chosen})", "{{listener}}"),
                    (
                        "sum by (reason) (increase(fanbridge_connections_refused_total{$chosen}[$__rate_interval]))",
                        "refused: {{reason}}",
                    ),
                ],
            ),
            panel(
                "Age of the oldest step in memory",
                "s",
                &[("fanbridge_timeline_oldest_seconds{$chosen}", "{{instance}}")],
            ),
            panel(
                "Versions",
                "short",
                &[("count by (version) (fanbridge_build_info{$chosen})", "{{version}}")],
            ),
        ],
    ),
    (
        "Queues",
        &[
            panel(
                "Messages",
                "ops",
                &[
                    (
                        "sum by (source) (rate(fanbridge_sqs_messages_received_total{$chosen}[$__rate_interval]))",
                        "{{source}} received",
                    ),
                    (
                        "sum by (source) (rate(fanbridge_sqs_messages_deleted_total{$chosen}[$__rate_interval]))",
                        "{{source}} deleted",
                    ),
                ],
            ),
            panel(
                "Calls that failed",
                "ops",
                &[(
                    "sum by (source, reason) (rate(fanbridge_sqs_errors_total{$chosen}[$__rate_interval]))",
                    "{{source}} {{reason}}",
                )],
            ),
            panel(
                "Age of a message until it is durable, p99",
                "s",
                &[(
                    "histogram_quantile(0.99, sum by (source, le) (rate(fanbridge_sqs_message_age_seconds_bucket{$chosen}[$__rate_interval])))",
                    "{{source}}",
                )],
            ),
        ],
    ),
];

/// The dashboard as Grafana imports it.
pub fn dashboard() -> Value {
    let (mut panels, mut y, mut id) = (Vec::new(), 0, 0);
    for (title, row) in ROWS {
        id += 1;
        let place = json!({ "h": 1, "w": GRID_COLUMNS, "x": 0, "y": y });
        panels.push(json!({ "id": id, "type": "row", "title": title, "collapsed": false, "gridPos": place, "panels": [] }));
        y += 1;
        for (number, panel) in row.iter().enumerate() {
            id += 1;
            let x = number * PANEL_COLUMNS % GRID_COLUMNS;
            let below = number * PANEL_COLUMNS / GRID_COLUMNS * PANEL_ROWS;
            let place = json!({ "h": PANEL_ROWS, "w": PANEL_COLUMNS, "x": x, "y": y + below });
            panels.push(panel.as_json(id, place));
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

impl Panel {
    fn as_json(&self, id: usize, place: Value) -> Value {
        let target = |(number, (expr, legend)): (usize, &(&str, &str))| {
            let name = char::from(b'A' + u8::try_from(number).unwrap_or_default()).to_string();
            let expr = expr.replace("$chosen", CHOSEN);
            json!({ "refId": name, "expr": expr, "legendFormat": legend, "datasource": source() })
        };
        let targets: Vec<Value> = self.queries.iter().enumerate().map(target).collect();
        json!({
            "id": id, "type": "timeseries", "title": self.title, "datasource": source(), "gridPos": place,
            "fieldConfig": {
                "defaults": { "unit": self.unit, "custom": { "fillOpacity": 10, "showPoints": "never" } },
                "overrides": [],
            },
            "options": { "legend": { "displayMode": "list", "placement": "bottom" }, "tooltip": { "mode": "multi" } },
            "targets": targets,
        })
    }
}
