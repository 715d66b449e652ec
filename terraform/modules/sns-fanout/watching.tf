# What tells a person: the log of deliveries to subscriptions, and alarms on those that failed.

resource "aws_iam_role" "delivery_status" {
  count = length(local.status)

  name                 = "${var.name}-sns-delivery-status"
  description          = "Lets SNS log what became of deliveries to subscriptions."
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
  watched_topics = var.alarms == null ? toset([]) : toset(flatten([
    for topics in values(local.subscribed_topics) : tolist(topics)
  ]))
}

resource "aws_cloudwatch_metric_alarm" "failed" {
  for_each = local.watched_topics

  alarm_name = "${var.name}-${replace(each.value, ".", "-")}-failed"
  alarm_description = join(" ", [
    "SNS gave deliveries of the topic ${each.value} up. They are in the dead-letter queue of the",
    "subscription, unless that queue's policy is wrong: see the topic's delivery status in the log.",
  ])
  namespace           = "AWS/SNS"
  metric_name         = "NumberOfNotificationsFailed"
  dimensions          = { TopicName = each.value }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = sort(var.alarms.actions)
  ok_actions          = sort(var.alarms.actions)
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  for_each = var.alarms == null ? {} : var.subscriptions

  alarm_name = "${var.name}-${each.key}-dead-letters"
  alarm_description = join(" ", [
    "The dead-letter queue of the subscription ${each.key} has messages that its endpoint did not take.",
    "Mend the endpoint, then start a redrive of the queue.",
  ])
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead_letter[each.key].name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = sort(var.alarms.actions)
  ok_actions          = sort(var.alarms.actions)
  tags                = var.tags
}
