# What tells a person: the log of deliveries, and alarms on those that failed.

resource "aws_iam_role" "delivery_status" {
  count = length(local.status)

  name                 = "${var.name}-delivery-status"
  description          = "Lets SNS log what became of deliveries of the topic ${var.name}${local.suffix}."
  assume_role_policy   = data.aws_iam_policy_document.delivery_status_trust[0].json
  permissions_boundary = local.status[0].permissions_boundary_arn
  tags                 = var.tags
}

resource "aws_iam_role_policy" "delivery_status" {
  count = length(local.status)

  name   = "log"
  role   = aws_iam_role.delivery_status[0].id
  policy = data.aws_iam_policy_document.delivery_status[0].json
}

data "aws_iam_policy_document" "delivery_status_trust" {
  count = length(local.status)

  statement {
    sid     = "SnsAssumes"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["sns.amazonaws.com"]
    }

    # Without a condition: SNS is not documented to state a source here, and a log that nobody may write stays
    # empty in silence. Nobody but this account can hand the role to SNS, because PassRole ends at an account.
  }
}

data "aws_iam_policy_document" "delivery_status" {
  count = length(local.status)

  statement {
    sid = "LogDeliveries"
    actions = [
      "logs:CreateLogGroup",
      "logs:CreateLogStream",
      "logs:PutLogEvents",
      "logs:PutMetricFilter",
      "logs:PutRetentionPolicy",
    ]
    # SNS chooses the names of its log groups: sns/REGION/ACCOUNT/TOPIC.
    resources = [join(":", [
      "arn", data.aws_partition.current.partition, "logs", data.aws_region.current.region,
      data.aws_caller_identity.current.account_id, "log-group", "sns/*",
    ])]
  }
}

locals {
  alarms = var.alarms == null ? {} : {
    failed = {
      namespace  = "AWS/SNS"
      metric     = "NumberOfNotificationsFailed"
      dimensions = { TopicName = aws_sns_topic.this.name }
      statistic  = "Sum"
      period     = 300
      text = join(" ", [
        "SNS gave deliveries of ${var.name}${local.suffix} up: the bridge did not answer 2xx, or the queue",
        "refused. They are in the dead-letter queue.",
      ])
    }
    dead_letters = {
      namespace  = "AWS/SQS"
      metric     = "ApproximateNumberOfMessagesVisible"
      dimensions = { QueueName = aws_sqs_queue.dead_letter.name }
      statistic  = "Maximum"
      period     = 60
      text = join(" ", [
        "${var.name}-dead${local.suffix} has messages that could not be delivered. Mend the cause, then have",
        "the bridge read that queue for a while: a source with `sqs` and the same provider and app.",
      ])
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${replace(each.key, "_", "-")}"
  alarm_description   = each.value.text
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = sort(var.alarms.actions)
  ok_actions          = sort(var.alarms.actions)
  tags                = var.tags
}
