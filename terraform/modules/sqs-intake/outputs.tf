output "queue_url" {
  description = "URL of the queue: `sources.NAME.sqs.queue_url` of the bridge's configuration."
  value       = aws_sqs_queue.this.url
}

output "queue_arn" {
  description = "ARN of the queue: `queue_arns` of the module iam, and what the provider is told."
  value       = aws_sqs_queue.this.arn
}

output "queue_name" {
  description = "Name of the queue, with `.fifo` if it is one: `queues` of the module dashboard."
  value       = aws_sqs_queue.this.name
}

output "dead_letter_queue_url" {
  description = "URL of the dead-letter queue."
  value       = aws_sqs_queue.dead_letter.url
}

output "dead_letter_queue_arn" {
  description = "ARN of the dead-letter queue."
  value       = aws_sqs_queue.dead_letter.arn
}

output "sender_role_arn" {
  description = "ARN of the role that the sender assumes, or `null`."
  value       = one(aws_iam_role.sender[*].arn)
}

output "kms_key_arn" {
  description = "ARN of the key that encrypts the queues, or `null`: `kms_key_arns` of the module iam."
  value       = var.kms_key_arn
}

output "kms_key_policy_json" {
  description = "Statements that the key's policy needs for the senders, as a policy document, or `null`."
  value       = var.kms_key_arn == null ? null : data.aws_iam_policy_document.key.json
}

output "alarm_arns" {
  description = "ARNs of the alarms by what they watch: `age`, `depth` and `dead_letters`."
  value       = { for name, alarm in aws_cloudwatch_metric_alarm.this : name => alarm.arn }
}
