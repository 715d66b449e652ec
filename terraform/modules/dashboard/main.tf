# The dashboard: what comes, how it is answered, what waits, and what went wrong. Each graph finds its sources
# and sinks by itself.

data "aws_region" "current" {}

locals {
  # What tells lines apart, title, metric, statistic, and the name of the vertical axis.
  graphs = [
    ["verdict", "Deliveries by verdict", "events_total", "Sum", "in a period"],
    ["code", "Answers by status", "requests_total", "Sum", "in a period"],
    ["source", "Deliveries by source", "events_total", "Sum", "in a period"],
    ["source", "Time to the answer", "ack_duration_seconds", "Average", "s"],
    ["sink", "Age of the oldest event that a sink waits for", "sink_oldest_pending_seconds", "Maximum", "s"],
    ["sink", "Events behind", "sink_lag_events", "Maximum", "events"],
    ["sink", "Delivered", "delivered_total", "Sum", "in a period"],
    ["sink", "Time from arrival to the sink", "delivery_duration_seconds", "Average", "s"],
    ["sink", "Tried again", "sink_retries_total", "Sum", "in a period"],
    ["sink", "Dead letters kept", "dead_letters_kept", "Maximum", "letters"],
    ["reason", "Refused by reason", "refused_total", "Sum", "in a period"],
    ["", "Time of one fdatasync", "spool_fsync_duration_seconds", "Average", "s"],
  ]

  searches = [
    for graph in local.graphs : {
      title = graph[1]
      unit  = graph[4]
      metrics = [[{
        id = "found"
        expression = format(
          "SEARCH('{\"%s\",%s} MetricName=\"fanbridge_%s\" bridge=\"%s\"', '%s', %d)",
          var.namespace, join(",", compact(["bridge", graph[0]])), graph[2], var.bridge, graph[3],
          var.period_seconds,
        )
        label = graph[0] == "" ? var.bridge : "$${PROP('Dim.${graph[0]}')}"
      }]]
    }
  ]

  spool = {
    title = "Spool and its bound"
    unit  = "bytes"
    metrics = [
      for name in ["spool_bytes", "state_bytes", "spool_limit_bytes"] :
      [var.namespace, "fanbridge_${name}", "bridge", var.bridge, { stat = "Maximum" }]
    ]
  }

  queues = [
    for one in [
      ["Age of the oldest message of a queue", "s", "ApproximateAgeOfOldestMessage"],
      ["Messages that wait in a queue", "messages", "ApproximateNumberOfMessagesVisible"],
    ] :
    {
      title = one[0]
      unit  = one[1]
      metrics = [
        for queue in sort(var.queues) : ["AWS/SQS", one[2], "QueueName", queue, { stat = "Maximum" }]
      ]
    }
    if length(var.queues) > 0
  ]

  # Two in a row, below the alarms.
  plots   = concat(local.searches, [local.spool], local.queues)
  columns = 2
  width   = 12
  height  = 6

  widgets = concat(
    [{
      type = "alarm", x = 0, y = 0, width = 24, height = 4
      properties = {
        title  = "Alarms of ${var.bridge}"
        alarms = values(aws_cloudwatch_metric_alarm.this)[*].arn
      }
    }],
    [
      for index, plot in local.plots : {
        type   = "metric"
        x      = (index % local.columns) * local.width
        y      = 4 + floor(index / local.columns) * local.height
        width  = local.width
        height = local.height
        properties = {
          title   = plot.title
          region  = data.aws_region.current.region
          view    = "timeSeries"
          stacked = false
          period  = var.period_seconds
          metrics = plot.metrics
          yAxis   = { left = { min = 0, label = plot.unit, showUnits = false } }
        }
      }
    ],
  )
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({ widgets = local.widgets })
}
