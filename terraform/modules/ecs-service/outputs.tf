output "service_name" {
  description = "Name of the service."
  value       = aws_ecs_service.this.name
}

output "cluster_name" {
  description = "Name of the cluster, for `ecs_cluster` of the module dashboard."
  value       = local.cluster
}

output "task_definition_arn" {
  description = "ARN of the task definition with its revision."
  value       = aws_ecs_task_definition.this.arn
}

output "load_balancer_dns_name" {
  description = "Name to which the provider's host name leads (an alias record), or `null`."
  value       = one(aws_lb.this[*].dns_name)
}

output "load_balancer_zone_id" {
  description = "Hosted zone of the load balancer, for the alias record, or `null`."
  value       = one(aws_lb.this[*].zone_id)
}

output "load_balancer_arn" {
  description = "ARN of the load balancer, or `null`: for alarms on what never reaches the bridge."
  value       = one(aws_lb.this[*].arn)
}

output "target_group_arn" {
  description = "ARN of the target group, or `null`."
  value       = one(aws_lb_target_group.this[*].arn)
}

output "load_balancer_security_group_id" {
  description = "Security group of the load balancer, or `null`."
  value       = one(aws_security_group.balancer[*].id)
}

output "security_group_id" {
  description = "Security group of the tasks: let Kafka, Redis and the file system take connections from it."
  value       = aws_security_group.task.id
}

output "log_group_name" {
  description = "Log group of the bridge."
  value       = aws_cloudwatch_log_group.this.name
}

output "metrics_namespace" {
  description = "CloudWatch namespace of the metrics (module dashboard), or `null` without `metrics`."
  value       = try(var.metrics.namespace, null)
}

output "execution_role_arn" {
  description = "ARN of the role with which ECS pulls the image, reads the secrets and writes the log."
  value       = aws_iam_role.execution.arn
}
