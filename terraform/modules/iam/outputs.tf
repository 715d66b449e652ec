output "role_arn" {
  description = <<-EOT
    ARN of the role: `task_role_arn` of the module ecs-service, or the service account's annotation.
  EOT
  value       = aws_iam_role.this.arn

  # Whoever takes the role may do what it may from the start: a task without its rights ends at once.
  depends_on = [aws_iam_role_policy_attachment.this, aws_iam_role_policy_attachment.additional]
}

output "role_name" {
  description = "Name of the role, to attach further policies to it."
  value       = aws_iam_role.this.name
}

output "policy_json" {
  description = <<-EOT
    What the role may do: the document that `fanbridge iam-policy` prints. `null` if it is nothing.
  EOT
  value       = local.policy_json
}

output "policy_arns" {
  description = "ARNs of the policies with that document; more than one if it is long."
  value       = aws_iam_policy.this[*].arn
}

output "trust_policy_json" {
  description = "Who may take the role."
  value       = local.trust_json
}

output "instance_profile_name" {
  description = "Name of the instance profile, or `null` without `trust.ec2`."
  value       = one(aws_iam_instance_profile.this[*].name)
}
