output "configuration" {
  description = "The bridge's configuration: `terraform output -raw configuration > fanbridge.yaml`."
  value = templatefile("${path.module}/fanbridge.yaml.tftpl", {
    region         = var.region
    queue_url      = module.intake.queue_url
    tls            = var.kafka.tls
    sasl           = var.kafka.sasl
    has_iam        = local.has_iam
    topic_template = module.topics.topic_template
  })
}

output "kafka_brokers" {
  description = "KAFKA_BROKERS in the bridge's environment."
  value       = join(",", var.kafka.brokers)
}

output "queue_arn" {
  description = "What Stream is told: the queue's ARN, or its URL."
  value       = module.intake.queue_arn
}

output "queue_url" {
  description = "URL of the queue: `sqs_queue_url` of Stream's hook."
  value       = module.intake.queue_url
}

output "dead_letter_queue_url" {
  description = "Where messages go that were received too often."
  value       = module.intake.dead_letter_queue_url
}

output "role_arn" {
  description = "The bridge's role."
  value       = module.identity.role_arn
}

output "policy_json" {
  description = "What the bridge may do: what `fanbridge iam-policy` prints for `configuration`."
  value       = module.identity.policy_json
}

output "topics" {
  description = "Name of each topic by `PROVIDER.FAMILY`."
  value       = module.topics.topics
}
