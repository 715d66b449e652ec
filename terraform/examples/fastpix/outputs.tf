output "configuration" {
  description = "The bridge's configuration, as the tasks have it."
  value       = local.configuration
}

output "load_balancer_dns_name" {
  description = "Name to which your host name has to lead; FastPix then delivers to https://HOST/in/fastpix."
  value       = module.bridge.load_balancer_dns_name
}

output "topic_arns" {
  description = "ARN of each topic by `PROVIDER.FAMILY`."
  value       = module.topics.topic_arns
}

output "log_group_name" {
  description = "Log group of the bridge."
  value       = module.bridge.log_group_name
}

output "policy_json" {
  description = "What the bridge may do: what `fanbridge iam-policy` prints for `configuration`."
  value       = module.identity.policy_json
}
