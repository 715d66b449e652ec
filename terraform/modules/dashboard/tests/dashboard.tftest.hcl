# The alarms against the rules of deploy/prometheus, and the graphs. The provider is the real one and asks AWS
# nothing.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_resource {
  target = aws_cloudwatch_metric_alarm.this
  values = { arn = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:events" }
}

override_resource {
  target = aws_cloudwatch_dashboard.this
}

variables {
  name        = "events"
  bridge      = "fanbridge"
  ecs_cluster = "events"
}

run "every_rule_of_prometheus_has_its_alarm_and_no_other_is_there" {
  command = apply

  assert {
    condition = toset(keys(output.alarm_arns)) == toset(flatten([
      for group in yamldecode(file("../../../deploy/prometheus/fanbridge.rules.yaml")).groups :
      group.rules[*].alert
    ]))
    error_message = "The alarms are ${join(", ", keys(output.alarm_arns))}."
  }

  assert {
    condition = alltrue([
      for name, alarm in aws_cloudwatch_metric_alarm.this : alltrue([
        length(alarm.alarm_description) > 40, !strcontains(alarm.alarm_description, "{{"),
        strcontains(alarm.alarm_description, "docs/OPERATING.md#${lower(name)}"),
        alarm.alarm_name == "events-${name}",
      ])
    ])
    error_message = "An alarm does not say what it means and what to do."
  }

  # What the sidecar of the module ecs-service writes.
  assert {
    condition = alltrue(flatten([
      for name, alarm in aws_cloudwatch_metric_alarm.this : [
        for query in alarm.metric_query : [
          for metric in query.metric : contains(
            jsondecode(file("../../metrics.json")).dimensions[join(",", concat(
              ["bridge"], [for name in keys(metric.dimensions) : name if name != "bridge"]
            ))],
            trimprefix(metric.metric_name, "fanbridge_")
          ) && metric.dimensions.bridge == "fanbridge" && metric.namespace == "fanbridge"
        ]
      ] if name != "FanbridgeReplicaAbsent"
    ]))
    error_message = "An alarm watches a metric that nobody writes."
  }

  # What ECS writes by itself.
  assert {
    condition = toset(flatten([
      for query in aws_cloudwatch_metric_alarm.this["FanbridgeReplicaAbsent"].metric_query : [
        for metric in query.metric : join(" ", concat(
          [query.id, metric.namespace, metric.metric_name],
          [for name, value in metric.dimensions : "${name}=${value}"],
        ))
      ]
      ])) == toset([
      "running ECS/ContainerInsights RunningTaskCount ClusterName=events ServiceName=fanbridge",
      "wanted ECS/ContainerInsights DesiredTaskCount ClusterName=events ServiceName=fanbridge",
    ])
    error_message = "The alarm of an absent replica watches something else."
  }

  # What the result is made of are the metrics that the alarm has, all of them.
  assert {
    condition = alltrue([
      for alarm in values(aws_cloudwatch_metric_alarm.this) : toset([
        for query in alarm.metric_query : query.id if query.id != "result"
        ]) == toset(regexall("[a-z_]{2,}", one([
          for query in alarm.metric_query : query.expression if query.id == "result"
      ])))
    ])
    error_message = "An expression names what is not there, or leaves a metric out."
  }

  assert {
    condition = alltrue([
      for alarm in values(aws_cloudwatch_metric_alarm.this) :
      length([for query in alarm.metric_query : query if coalesce(query.return_data, false)]) == 1
      && alarm.evaluation_periods * max(flatten([
        for query in alarm.metric_query : [for metric in query.metric : metric.period]
      ])...) <= 86400
    ])
    error_message = "CloudWatch would refuse an alarm: not one result, or more than a day."
  }
}

run "alarms_last_as_long_as_their_rules_and_tell_whom_they_should" {
  command = apply

  variables {
    actions = {
      critical = ["arn:aws:sns:eu-west-1:123456789012:pages"]
      warning  = ["arn:aws:sns:eu-west-1:123456789012:mails"]
    }
    runbook_url = "https://wiki.example.com/fanbridge"
  }

  assert {
    condition = alltrue([
      for rule in yamldecode(file("../../../deploy/prometheus/fanbridge.rules.yaml")).groups[0].rules :
      aws_cloudwatch_metric_alarm.this[rule.alert].alarm_actions == toset([
        rule.labels.severity == "critical" ? var.actions.critical : var.actions.warning
      ][0])
    ])
    error_message = "An alarm tells somebody else."
  }

  assert {
    condition = {
      for name in ["FanbridgeAbsent", "FanbridgeDiskHangs", "FanbridgeSinkBehind", "FanbridgeSinkPaused"] :
      name => aws_cloudwatch_metric_alarm.this[name].evaluation_periods
    } == { FanbridgeAbsent = 5, FanbridgeDiskHangs = 1, FanbridgeSinkBehind = 5, FanbridgeSinkPaused = 12 }
    error_message = "An alarm goes off earlier or later than its rule."
  }

  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["FanbridgeAbsent"].treat_missing_data == "breaching"
      && aws_cloudwatch_metric_alarm.this["FanbridgeSinkBehind"].threshold == 300
      && aws_cloudwatch_metric_alarm.this["FanbridgeSinkBehind"].treat_missing_data == "notBreaching"
    )
    error_message = "An alarm judges otherwise."
  }

  assert {
    condition = strcontains(
      aws_cloudwatch_metric_alarm.this["FanbridgeDeadLetters"].alarm_description,
      "Runbook: https://wiki.example.com/fanbridge#fanbridgedeadletters"
    )
    error_message = "An alarm names another runbook."
  }
}

run "without_a_cluster_no_alarm_asks_ecs" {
  command = apply

  variables {
    ecs_cluster = null
  }

  assert {
    condition = setsubtract(
      keys(output.differences), keys(output.alarm_arns)
    ) == toset(["FanbridgeReplicaAbsent"])
    error_message = "Other alarms are missing: there are ${join(", ", keys(output.alarm_arns))}."
  }
}

run "alarms_that_nobody_wants_and_longer_periods" {
  command = apply

  variables {
    disabled_alarms = ["FanbridgeProviderSilent"]
    period_seconds  = 300
  }

  assert {
    condition = (
      !contains(keys(output.alarm_arns), "FanbridgeProviderSilent")
      && aws_cloudwatch_metric_alarm.this["FanbridgeSinkBehind"].evaluation_periods == 1
    )
    error_message = "The alarm is there, or waits for too long."
  }
}

run "graphs_find_what_the_sidecar_writes" {
  command = apply

  variables {
    queues = ["stream-events"]
  }

  assert {
    condition = alltrue(flatten([
      for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : [
        for line in try(widget.properties.metrics, []) : [
          for found in regexall(
            "SEARCH\\('\\{\"fanbridge\",([a-z,]+)\\} MetricName=\"fanbridge_([a-z_]+)\" ",
            try(line[0].expression, "")
          ) :
          contains(jsondecode(file("../../metrics.json")).dimensions[found[0]], found[1])
        ]
      ]
    ]))
    error_message = "A graph shows a metric that nobody writes."
  }

  assert {
    condition = length(flatten([
      for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : [
        for line in try(widget.properties.metrics, []) : regexall("^SEARCH", try(line[0].expression, ""))
      ]
    ])) == 12
    error_message = "There are not twelve graphs that find their lines by themselves."
  }

  assert {
    condition = length([
      for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : widget
      if strcontains(jsonencode(widget), "stream-events")
    ]) == 2
    error_message = "The queue has not two graphs."
  }

  # No two overlap, and none leaves the grid of 24 columns.
  assert {
    condition = (
      length(distinct([
        for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets :
        "${widget.x},${widget.y}"
      ])) == length(jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets)
      && alltrue([
        for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets :
        widget.x + widget.width <= 24
      ])
    )
    error_message = "Graphs overlap."
  }
}
