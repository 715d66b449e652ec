output "configuration" {
  description = "The bridge's configuration: `terraform output -raw configuration > fanbridge.yaml`."
  value = templatefile("${path.module}/fanbridge.yaml.tftpl", {
    region         = var.region
    topic_template = module.topics.topic_template
  })
}

output "topic_arns" {
  description = "ARN of each topic by `PROVIDER.FAMILY`."
  value       = module.topics.topic_arns
}

output "consumer_queue_url" {
  description = "URL of the queue that the consumer reads."
  value       = aws_sqs_queue.consumer.url
}

output "role_arn" {
  description = "The bridge's role."
  value       = module.identity.role_arn
}

output "policy_json" {
  description = "What the bridge may do: what `fanbridge iam-policy` prints for `configuration`."
  value       = module.identity.policy_json
}
