output "topic_template" {
  description = "The sink's `topic` in the bridge's configuration."
  value       = var.topic_template
}

output "topics" {
  description = "Name of each topic by `PROVIDER.FAMILY`."
  value       = tomap({ for key, name in local.topics : key => kafka_topic.this[name].name })
}

output "topic_names" {
  description = "Name of each topic, once: `msk[].topics` of the module iam."
  value       = sort(local.names)
}

output "acls" {
  description = "The ACLs by what they allow: `PRINCIPAL OPERATION TYPE PATTERN NAME`."
  value       = keys(kafka_acl.this)
}
