output "topic_template" {
  description = "The sink's `topic` in the bridge's configuration, with `{provider}` and `{family}`."
  value       = local.arn_template

  # A bridge that begins with this configuration finds its topics.
  depends_on = [aws_sns_topic.this, aws_sns_topic_policy.this]
}

output "topic_arns" {
  description = "ARN of each topic by `PROVIDER.FAMILY`."
  value       = tomap({ for key, name in local.topics : key => aws_sns_topic.this[name].arn })
}

output "publish_topic_arns" {
  description = "ARN of each topic, once: `publish_topic_arns` of the module iam."
  value       = [for name in sort(local.names) : aws_sns_topic.this[name].arn]
}

output "topic_names" {
  description = "Name of each topic by `PROVIDER.FAMILY`, as the bridge spells it."
  value       = tomap(local.topics)
}

output "subscription_arns" {
  description = "ARN of each subscription by `NAME/TOPIC`."
  value       = { for key, subscription in aws_sns_topic_subscription.this : key => subscription.arn }
}

output "dead_letter_queue_arns" {
  description = "ARN of the dead-letter queue of each subscription, by its name."
  value       = { for name, queue in aws_sqs_queue.dead_letter : name => queue.arn }
}

output "queue_policies_json" {
  description = <<-EOT
    For each subscription of a queue the policy with which that queue lets its topics send, as a document
    for `aws_sqs_queue_policy` of whoever owns the queue.
  EOT
  value = {
    for name, document in data.aws_iam_policy_document.subscribed_queue : name => document.json
  }
}

output "kms_key_arn" {
  description = "ARN of your key that encrypts the topics, or `null`: `topic_kms_key_arns` of the module iam."
  value       = local.own_key
}

output "kms_key_policy_json" {
  description = "Statements that the policy of your key needs, as a policy document, or `null`."
  value       = local.own_key == null ? null : data.aws_iam_policy_document.key.json
}

output "alarm_arns" {
  description = "ARNs of the alarms: `failed/TOPIC` and `dead-letters/SUBSCRIPTION`."
  value = merge(
    { for name, alarm in aws_cloudwatch_metric_alarm.failed : "failed/${name}" => alarm.arn },
    { for name, alarm in aws_cloudwatch_metric_alarm.dead_letters : "dead-letters/${name}" => alarm.arn },
  )
}
