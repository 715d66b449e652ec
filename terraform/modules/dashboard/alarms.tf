# The alarms mirror deploy/prometheus/fanbridge.rules.yaml, rule by rule; names, sentences, severities and
# runbook are read from there. CloudWatch has the metrics that terraform/metrics.json names: counters as what
# came within a period, histograms as averages.

locals {
  rules_file = yamldecode(file("${path.module}/../../../deploy/prometheus/fanbridge.rules.yaml"))
  rules      = { for rule in local.rules_file.groups[0].rules : rule.alert => rule }

  minute = var.period_seconds

  # `metrics`: by name in the expression, [metric, statistic, further dimensions]. `lasting` is how long it
  # has to be so, in seconds. What is missing counts as good, unless `missing` says otherwise. `differs` is
  # what the rule says and CloudWatch cannot. `of_ecs`: ECS has the metrics, not the bridge.
  alarms = {
    FanbridgeAbsent = {
      metrics  = { seen = ["build_info", "SampleCount", {}] }, expression = "FILL(seen, 0)"
      operator = "LessThanThreshold", threshold = 1, lasting = 300, missing = "breaching"
    }
    FanbridgeReplicaAbsent = {
      metrics = {
        running = ["RunningTaskCount", "Minimum", {}], wanted = ["DesiredTaskCount", "Minimum", {}]
      }
      expression = "IF(running < wanted, 1, 0)", threshold = 0, lasting = 900, of_ecs = true
      differs    = "compares the tasks of the ECS service with how many it should have; needs `ecs_cluster`"
    }
    FanbridgeSpoolFillsUp = {
      metrics = {
        log_bytes  = ["spool_bytes", "Maximum", {}], state_bytes = ["state_bytes", "Maximum", {}]
        most_bytes = ["spool_limit_bytes", "Minimum", {}]
        waited     = ["sink_oldest_pending_seconds", "Maximum", {}]
      }
      expression = "IF(waited > 60, (log_bytes + state_bytes) / most_bytes, 0)"
      threshold  = 0.8, lasting = 300
    }
    FanbridgeDiskHangs = {
      metrics    = { hangs = ["spool_disk_outstanding_seconds", "Maximum", {}] }
      expression = "FILL(hangs, 0)", threshold = 5, lasting = 60
    }
    FanbridgeDiskSlow = {
      metrics    = { sync = ["spool_fsync_duration_seconds", "Average", {}] }
      expression = "FILL(sync, 0)", threshold = 0.1, lasting = 600
      differs    = "the average above 0.1 s instead of the 99th percentile above 0.5 s"
    }
    FanbridgeLogDamaged = {
      metrics    = { damaged = ["spool_corrupt_records_total", "Sum", {}] }
      expression = "FILL(damaged, 0)", threshold = 0, lasting = 0
      differs    = "goes off when damage is found, and ends a minute later"
    }
    FanbridgeStateNoRoom = {
      metrics    = { failed = ["state_no_room_total", "Sum", {}] }
      expression = "FILL(failed, 0)", threshold = 0, lasting = 0
    }
    FanbridgeReloadRefused = {
      metrics    = { refused = ["config_reload_refused", "Maximum", {}] }
      expression = "FILL(refused, 0)", threshold = 0, lasting = 300
    }
    FanbridgeRefuses = {
      metrics    = { answers = ["requests_total", "Sum", { code = "503" }] }
      expression = "FILL(answers, 0)", threshold = 0, lasting = 300
      differs    = "of all sources together"
    }
    FanbridgeAnswersSlowly = {
      metrics    = { answer = ["ack_duration_seconds", "Average", {}] }
      expression = "FILL(answer, 0)", threshold = 1, lasting = 600
      differs    = "the average above 1 s, of all sources together, instead of the 99th percentile above 3 s"
    }
    FanbridgeSignaturesFail = {
      metrics = {
        wrong    = ["refused_total", "Sum", { reason = "wrong_signature" }]
        unsigned = ["refused_total", "Sum", { reason = "missing_signature" }]
        over     = ["refused_total", "Sum", { reason = "no_live_secret" }]
        unset    = ["refused_total", "Sum", { reason = "no_secret" }]
        requests = ["requests_total", "Sum", {}]
      }
      expression = join(" ", [
        "IF(FILL(requests, 0) > 0,",
        "(FILL(wrong, 0) + FILL(unsigned, 0) + FILL(over, 0) + FILL(unset, 0)) / FILL(requests, 1), 0)",
      ])
      threshold = 0.1, lasting = 600
      differs   = "of all sources together"
    }
    FanbridgeProviderSilent = {
      metrics  = { events = ["events_total", "Sum", {}] }, expression = "FILL(events, 0)"
      operator = "LessThanOrEqualToThreshold", threshold = 0, lasting = 3600, period = 3600
      differs  = "no delivery of any source for an hour, whatever came yesterday"
    }
    FanbridgeSourceDegraded = {
      metrics    = { degraded = ["source_degraded", "Maximum", {}] }
      expression = "FILL(degraded, 0)", threshold = 0, lasting = 300
    }
    FanbridgeSecretUnreadable = {
      metrics    = { failed = ["secret_reload_failures_total", "Sum", {}] }
      expression = "FILL(failed, 0)", threshold = 0, lasting = 0
    }
    FanbridgeClockSkew = {
      metrics = {
        ahead = ["clock_skew_seconds", "Maximum", {}], behind = ["clock_skew_seconds", "Minimum", {}]
      }
      expression = "IF(ahead > 60 OR behind < -60, 1, 0)", threshold = 0, lasting = 900
    }
    FanbridgeSubscriptionEnded = {
      metrics = {
        failed  = ["sns_subscriptions_total", "Sum", { outcome = "failed" }]
        refused = ["sns_subscriptions_total", "Sum", { outcome = "refused" }]
        over    = ["sns_subscriptions_total", "Sum", { outcome = "ended" }]
      }
      expression = "FILL(failed, 0) + FILL(refused, 0) + FILL(over, 0)", threshold = 0, lasting = 0
    }
    FanbridgeSharedWindowDegraded = {
      metrics    = { degraded = ["shared_window_degraded", "Maximum", {}] }
      expression = "FILL(degraded, 0)", threshold = 0, lasting = 600
    }
    FanbridgeSinkDegraded = {
      metrics    = { degraded = ["sink_degraded", "Maximum", {}] }
      expression = "FILL(degraded, 0)", threshold = 0, lasting = 300
      differs    = "also of a sink that is paused"
    }
    FanbridgeSinkBehind = {
      metrics    = { waited = ["sink_oldest_pending_seconds", "Maximum", {}] }
      expression = "FILL(waited, 0)", threshold = 300, lasting = 300
      differs    = "also of a sink that is paused"
    }
    FanbridgeSinkPaused = {
      metrics    = { paused = ["sink_paused", "Maximum", {}] }
      expression = "FILL(paused, 0)", threshold = 0, lasting = 43200, period = 3600
    }
    FanbridgeDeadLetters = {
      metrics    = { kept = ["dead_letters_kept", "Maximum", {}] }
      expression = "FILL(kept, 0)", threshold = 0, lasting = 60
    }
    FanbridgeSinkMissedEvents = {
      metrics    = { missed = ["sink_missed_records_total", "Sum", {}] }
      expression = "FILL(missed, 0)", threshold = 0, lasting = 0
    }
    FanbridgeAnswersLate = {
      metrics    = { late = ["ack_late_total", "Sum", {}] }
      expression = "FILL(late, 0)", threshold = 0, lasting = 0
    }
  }

  # With one shape for all, and what the rule says of each.
  specifications = {
    for name, alarm in local.alarms : name => {
      metrics     = alarm.metrics
      expression  = alarm.expression
      operator    = try(alarm.operator, "GreaterThanThreshold")
      threshold   = alarm.threshold
      period      = try(alarm.period, local.minute)
      periods     = max(1, ceil(alarm.lasting / try(alarm.period, local.minute)))
      missing     = try(alarm.missing, "notBreaching")
      of_ecs      = try(alarm.of_ecs, false)
      severity    = try(local.rules[name].labels.severity, "warning")
      description = try(local.descriptions[name], "")
    }
  }

  # The labels of a rule are not known to an alarm: which source or sink it is, the dashboard shows.
  plain = {
    for name, rule in local.rules : name => replace(
      "${rule.annotations.summary}: ${rule.annotations.description}",
      "/ ?\\{\\{[^}]*\\}\\}/", " (see the dashboard)"
    )
  }
  descriptions = {
    for name, rule in local.rules : name => substr(join(" ", [
      "${local.plain[name]}.",
      "Runbook: ${replace(rule.annotations.runbook_url, "docs/OPERATING.md", var.runbook_url)}",
    ]), 0, 1024)
  }

  # Whose metrics they are, by `of_ecs`.
  subject = {
    (true) = { ClusterName = var.ecs_cluster, ServiceName = var.bridge }, (false) = { bridge = var.bridge }
  }

  differences = { for name, alarm in local.alarms : name => alarm.differs if can(alarm.differs) }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = {
    for name, alarm in local.specifications : name => alarm
    if !contains(var.disabled_alarms, name) && (!alarm.of_ecs || var.ecs_cluster != null)
  }

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  comparison_operator = each.value.operator
  threshold           = each.value.threshold
  evaluation_periods  = each.value.periods
  treat_missing_data  = each.value.missing
  alarm_actions       = sort(var.actions[each.value.severity])
  ok_actions          = sort(var.actions[each.value.severity])
  tags                = merge(var.tags, { severity = each.value.severity })

  metric_query {
    id          = "result"
    expression  = each.value.expression
    label       = each.key
    return_data = true
  }

  dynamic "metric_query" {
    for_each = each.value.metrics

    content {
      id = metric_query.key

      metric {
        namespace   = each.value.of_ecs ? "ECS/ContainerInsights" : var.namespace
        metric_name = each.value.of_ecs ? metric_query.value[0] : "fanbridge_${metric_query.value[0]}"
        stat        = metric_query.value[1]
        dimensions  = merge(local.subject[each.value.of_ecs], metric_query.value[2])
        period      = each.value.period
      }
    }
  }

  lifecycle {
    precondition {
      condition     = contains(keys(local.rules), each.key)
      error_message = "deploy/prometheus has no rule ${each.key}: remove its alarm."
    }
  }
}
