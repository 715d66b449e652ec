# What tells a person: messages that wait for too long, too many of them, and any that were given up.

locals {
  alarms = var.alarms == null ? {} : {
    age = {
      queue     = aws_sqs_queue.this.name
      metric    = "ApproximateAgeOfOldestMessage"
      threshold = var.alarms.age_seconds
      periods   = 3
      text = join(" ", [
        "The oldest message of ${aws_sqs_queue.this.name} waits for more than ${var.alarms.age_seconds} s:",
        "the bridge is away, or stores more slowly than messages come. See its /readyz.",
      ])
    }
    depth = {
      queue     = aws_sqs_queue.this.name
      metric    = "ApproximateNumberOfMessagesVisible"
      threshold = var.alarms.depth
      periods   = 3
      text = join(" ", [
        "More than ${var.alarms.depth} messages of ${aws_sqs_queue.this.name} wait to be read:",
        "the bridge is away, or stores more slowly than messages come. See its /readyz.",
      ])
    }
    dead_letters = {
      queue     = aws_sqs_queue.dead_letter.name
      metric    = "ApproximateNumberOfMessagesVisible"
      threshold = 0
      periods   = 1
      text = join(" ", [
        "${aws_sqs_queue.dead_letter.name} has messages that the bridge could not settle in",
        "${var.max_receive_count} receives. Mend the cause, then start a redrive of that queue.",
      ])
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${replace(each.key, "_", "-")}"
  alarm_description   = each.value.text
  namespace           = "AWS/SQS"
  metric_name         = each.value.metric
  dimensions          = { QueueName = each.value.queue }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = each.value.periods
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  # SQS sends no numbers of a queue that nobody has used for six hours.
  treat_missing_data = "notBreaching"
  alarm_actions      = sort(var.alarms.actions)
  ok_actions         = sort(var.alarms.actions)
  tags               = var.tags
}
