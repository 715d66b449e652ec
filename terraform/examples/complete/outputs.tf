output "configuration" {
  description = "The bridge's configuration, as the tasks have it."
  value       = local.configuration
}

output "load_balancer_dns_name" {
  description = "Name to which your host name has to lead; providers deliver to https://HOST/in/SOURCE."
  value       = module.bridge.load_balancer_dns_name
}

output "queue_url" {
  description = "URL of the queue that Stream sends to."
  value       = module.queue.queue_url
}

output "intake_topic_arn" {
  description = "ARN of the topic that Stream publishes to."
  value       = module.intake_topic.topic_arn
}

output "security_group_id" {
  description = "Security group of the tasks: the MSK cluster and Redis have to take connections from it."
  value       = module.bridge.security_group_id
}

output "dashboard_name" {
  description = "Name of the CloudWatch dashboard."
  value       = module.dashboard.dashboard_name
}

output "policy_json" {
  description = "What the bridge may do: what `fanbridge iam-policy` prints for `configuration`."
  value       = module.identity.policy_json
}
