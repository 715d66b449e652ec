output "topic_template" {
  description = "The sink's `topic` in the bridge's configuration."
  value       = var.topic_template

  # A bridge that begins with this configuration finds its topics, and may write to them.
  depends_on = [kafka_topic.this, kafka_acl.this]
}

output "topics" {
  description = "Name of each topic by `PROVIDER.FAMILY`."
  value       = tomap({ for key, name in local.topics : key => kafka_topic.this[name].name })
}

output "partition_replicas" {
  description = <<-EOT
    Partitions of all topics, times their replicas: divided by the brokers, what each one carries. MSK advises
    300 for each kafka.t3.small and 1000 for each broker of size large, and updates none with far more.
  EOT
  value       = sum(concat([0], values(kafka_topic.this)[*].partitions)) * var.replication_factor
}

output "topic_names" {
  description = "Name of each topic, once: `msk[].topics` of the module iam."
  value       = sort(local.names)
}

output "acls" {
  description = "The ACLs by what they allow: `PRINCIPAL OPERATION TYPE PATTERN NAME`."
  value       = keys(kafka_acl.this)
}
