output "topic_arn" {
  description = "ARN of the topic: `sources.NAME.sns.topics`, and `confirm_topic_arns` of the module iam."
  value       = aws_sns_topic.this.arn
}

output "topic_name" {
  description = "Name of the topic, with `.fifo` if it is one."
  value       = aws_sns_topic.this.name
}

output "subscription_arn" {
  description = "ARN of the subscription of `endpoint`, or `null`."
  value       = one(aws_sns_topic_subscription.endpoint[*].arn)
}

output "queue_subscription_arns" {
  description = "ARN of the subscription of each queue, by its name in `queue_arns`."
  value       = { for name, subscription in aws_sns_topic_subscription.queue : name => subscription.arn }
}

output "dead_letter_queue_arn" {
  description = "ARN of the queue that keeps what could not be delivered."
  value       = aws_sqs_queue.dead_letter.arn
}

output "dead_letter_queue_url" {
  description = "URL of the queue that keeps what could not be delivered."
  value       = aws_sqs_queue.dead_letter.url
}

output "publisher_role_arn" {
  description = "ARN of the role that the provider assumes, or `null`."
  value       = one(aws_iam_role.publisher[*].arn)
}

output "kms_key_policy_json" {
  description = "Statements that the key's policy needs for the publishers, as a policy document, or `null`."
  value       = var.kms_key_arn == null ? null : data.aws_iam_policy_document.key.json
}

output "alarm_arns" {
  description = "ARNs of the alarms by what they watch: `failed` and `dead_letters`."
  value       = { for name, alarm in aws_cloudwatch_metric_alarm.this : name => alarm.arn }
}
